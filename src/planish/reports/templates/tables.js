// Says of each table that is wider than the window that it scrolls, and lets the keyboard scroll it.
function markTables() {
  for (const wide of document.querySelectorAll(".wide")) {
    const scrolls = wide.scrollWidth > wide.clientWidth + 1;
    wide.classList.toggle("scrolls", scrolls);
    if (scrolls) { wide.tabIndex = 0; wide.setAttribute("role", "region"); wide.setAttribute("aria-label", "Table, scrolls sideways"); }
    else { wide.removeAttribute("tabindex"); wide.removeAttribute("role"); wide.removeAttribute("aria-label"); }
  }
}
markTables();
addEventListener("resize", markTables);
document.addEventListener("toggle", markTables, true);  // a table in an opened <details>
