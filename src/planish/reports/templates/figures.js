const ROOT = document.documentElement;

// Replaces "var(--name)" anywhere in a figure by the color that the page has now.
function painted(value) {
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(painted);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v)]));
  const name = typeof value === "string" && value.match(/^var\((--[a-z0-9-]+)\)$/);
  return name ? getComputedStyle(ROOT).getPropertyValue(name[1]).trim() : value;
}

function layout(panel) {
  const span = Math.max(...panel.traces.map((trace) => trace.x.at(-1) - trace.x[0]));
  const axis = { gridcolor: "var(--grid)", linecolor: "var(--rule)", zeroline: false, zerolinecolor: "var(--quiet)", automargin: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, uirevision: "kept", hovermode: panel.hovermode ?? "x unified",
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",  // a finger scrolls the page
    font: { family: getComputedStyle(ROOT).fontFamily, size: 12, color: "var(--quiet)" },
    hoverlabel: { bgcolor: "var(--page)", bordercolor: "var(--rule)", font: { color: "var(--ink)" } },
    margin: { l: 10, r: 12, t: 8, b: 36 },
    xaxis: { ...axis, showgrid: false, showline: true, ticks: "outside", tickcolor: "var(--rule)", title: { text: "step", standoff: 6 }, tickformat: ",d", ...(span < 8 && { dtick: 1 }), ...panel.xaxis },
    shapes: panel.shapes ?? [],
    yaxis: { ...axis, nticks: 6, tickformat: "~g", ...panel.yaxis },
  };
}

function draw(place) {
  const plots = document.getElementById(place).querySelectorAll(".plot");
  FIGURES[place].forEach((panel, i) => {
    const size = { width: plots[i].clientWidth, height: plots[i].clientHeight };
    Plotly.react(plots[i], painted(panel.traces), painted({ ...layout(panel), ...size }), { displayModeBar: false });
  });
}

function drawAll() { Object.keys(FIGURES).forEach(draw); }

for (const place of Object.keys(FIGURES)) {
  document.getElementById(place).querySelectorAll(".keys button").forEach((key, i) => {
    key.addEventListener("click", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", shown);
      for (const panel of FIGURES[place]) panel.traces[i].visible = shown;  // traces are in the order of the keys
      draw(place);
    });
  });
}

function start() {
  drawAll();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is white and narrower than the window.
  const paper = (on) => { ROOT.classList.toggle("paper", on); drawAll(); };
  matchMedia("print").addEventListener("change", (event) => paper(event.matches));
}

async function loadPlotly() {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);  // runs at once
}

loadPlotly().then(start, () => { document.getElementById("no-figures").hidden = false; });
