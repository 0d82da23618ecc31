// What all pages share: the theme's switch, the menu of narrow screens, moments in local time.

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.querySelector("button.theme");
const menuButton = document.querySelector("button.menu");

function themeInForce() {
  return root.dataset.theme ?? (systemIsDark.matches ? "dark" : "light");
}

function labelTheme() {
  const other = themeInForce() === "dark" ? "light" : "dark";
  themeButton.textContent = other === "dark" ? "Dark" : "Light";
  themeButton.setAttribute("aria-label", `Switch to the ${other} theme`);
}

themeButton.hidden = false;
labelTheme();
systemIsDark.addEventListener("change", labelTheme);
themeButton.addEventListener("click", () => {
  const other = themeInForce() === "dark" ? "light" : "dark";
  root.dataset.theme = other;
  try {
    localStorage.setItem("penstock-theme", other);
  } catch {
    // It holds for this page, then.
  }
  labelTheme();
});

if (menuButton) {
  menuButton.hidden = false;
  const show = (open) => {
    menuButton.setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("menu-open", open);
  };
  menuButton.addEventListener("click", () => {
    show(menuButton.getAttribute("aria-expanded") !== "true");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
      show(false);
      menuButton.focus();
    }
  });
}

// The page is in UTC; who points at a moment sees it in their own time.
for (const time of document.querySelectorAll("time[title]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) {
    time.title = `${time.dateTime} (UTC), here ${at.toLocaleString()}`;
  }
}
