// Runs before the first paint: a remembered theme and language must not flash in late.
(function () {
  var root = document.documentElement;
  try {
    var theme = localStorage.getItem("fanfare.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    var language = localStorage.getItem("fanfare.language") || navigator.language;
    root.lang = /^ja\b/i.test(language) ? "ja" : "en";
  } catch {
    // Storage may be forbidden; the system's theme and English then stand.
  }
})();
