// Texts whose colour and background differ by less than 4.5 : 1 (WCAG 2, level AA).
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (color) => { const [r, g, b] = [...rgb(color)].slice(0, 3).map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = (node) => {
    if (node.closest("svg")) { const box = node.closest(".part")?.querySelector("rect"); if (box) return getComputedStyle(box).fill; if (node.closest(".middle")) return "#151922"; }
    for (let at = node; at; at = at.parentElement) { const color = getComputedStyle(at).backgroundColor; if (rgb(color)[3] > 250) return color; }
    return "#fff";
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()) || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
    if (!node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node.closest("svg") ? style.fill : style.color), light(behind(node))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) found.push(`${node.tagName} ${node.className.baseVal ?? node.className} ${node.textContent.trim().slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return found;
})()
