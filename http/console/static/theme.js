// Sets the theme before the first line is drawn: the one chosen here, else the system's.
// Not a module, since those come too late for that.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  try {
    const chosen = localStorage.getItem("penstock-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; then the system's theme stays.
  }
})();
