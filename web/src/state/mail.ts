export interface Framed {
  html: string;
  /** Style sheets and styles of elements, which the page's policy lets pass only by script. */
  sheets: string[];
}

/**
 * A mail as a frame may show it. The page's policy forbids inline styles in markup, and a mail has no others; so they are
 * taken out here and put in again from the outside. Scripts do not run in the frame, whatever the mail holds.
 */
export function framed(html: string): Framed {
  const sheets: string[] = [];
  const bare = html
    .replace(/<style[^>]*>([\s\S]*?)<\/style>/gi, (_, sheet: string) => (sheets.push(sheet), ""))
    .replace(/<script[\s\S]*?<\/script>/gi, "")
    .replace(/<(?:link|meta|base)\b[^>]*>/gi, "")
    .replace(/\sstyle=/gi, " data-style=")
    .replace(/\son[a-z]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>]+)/gi, "");
  return { html: bare, sheets };
}

/** What programs for mail set a mail in that says nothing of its looks. */
const PLAIN = "body { margin: 16px 20px; font: 14px/1.55 Arial, Helvetica, 'Hiragino Sans', 'Noto Sans JP', 'Noto Sans CJK JP', sans-serif; color: #17191e } h1, h2, h3 { margin: 20px 0 8px; font-size: 16px } ul { margin: 0; padding-left: 18px } li { margin: 0 0 10px } a { color: #4450c4 }";

export function dress(document: Document, { sheets }: Framed): void {
  const window = document.defaultView;
  if (!window) return;
  const adopted = [PLAIN, ...sheets].map((text) => {
    const sheet = new window.CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  document.adoptedStyleSheets = adopted;
  for (const element of document.querySelectorAll<HTMLElement>("[data-style]")) element.style.cssText = element.dataset["style"] ?? "";
  for (const link of document.querySelectorAll("a")) link.target = "_blank";
}
