export const PAGES = ["overview", "inventory", "prices", "class", "matching", "operations"] as const;
export type PageName = (typeof PAGES)[number];

export const pathOf = (page: PageName): string => (page === "overview" ? "/" : `/${page}`);

export function pageAt(path: string): PageName {
  const name = path.replace(/^\/+|\/+$/g, "");
  return PAGES.find((page) => page === name) ?? "overview";
}

/** Which page is shown. The address says it, so pages can be bookmarked, opened in tabs and gone back to. */
class Router {
  page = $state<PageName>("overview");

  start(): () => void {
    this.page = pageAt(location.pathname);
    const follow = (): void => void (this.page = pageAt(location.pathname));
    window.addEventListener("popstate", follow);
    return () => window.removeEventListener("popstate", follow);
  }

  go(page: PageName): void {
    if (page === this.page) return;
    history.pushState(null, "", pathOf(page));
    this.page = page;
  }

  /** For links: what the browser means to do by itself (new tab, download) stays its own. */
  follow(event: MouseEvent, page: PageName): void {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.go(page);
  }
}

export const router = new Router();
