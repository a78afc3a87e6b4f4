// Elements by tag, attributes and content. Texts are never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

const fill = (node, attributes, content) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...content);
  return node;
};

export const element = (tag, attributes = {}, ...content) =>
  fill(document.createElement(tag), attributes, content);

/** A small drawing with one shape in it. */
export function drawing(kind, viewBox, points, colour) {
  const polygon = document.createElementNS(SVG, "polygon");
  const look = { points, fill: colour, stroke: "#161616", "stroke-width": "1.5" };
  const about = { class: kind, viewBox, "aria-hidden": "true" };
  const join = { "stroke-linejoin": "round" };
  return fill(document.createElementNS(SVG, "svg"), about, [
    fill(polygon, { ...look, ...join }, []),
  ]);
}

/** A text's paragraphs. */
export const paragraphs = (words) =>
  words.split(/\n\s*\n/).map((piece) => element("p", {}, piece));
