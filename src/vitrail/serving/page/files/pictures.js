// Pictures: from a file to what the server takes. They go as they are, unless they are larger than it allows.
import { newId } from "./conversation.js";
import { number } from "./elements.js";

/** What the server reads. Some of it no browser shows; some that browsers show (SVG, AVIF) it does not read. */
const READ = new Map([["image/png", "PNG"], ["image/jpeg", "JPEG"], ["image/webp", "WEBP"], ["image/gif", "GIF"], ["image/bmp", "BMP"], ["image/tiff", "TIFF"], ["image/x-portable-pixmap", "PPM"]]);
const UNSHOWN = new Map([["tif", "image/tiff"], ["tiff", "image/tiff"], ["ppm", "image/x-portable-pixmap"], ["pgm", "image/x-portable-pixmap"], ["pbm", "image/x-portable-pixmap"]]);
const MARGIN = 65_536; // bytes of a request that are not its pictures

const encoded = (bytes) => Math.ceil(bytes / 3) * 4;

/**
 * A picture that can be sent: { id, name, type, width, height, blob, note }; `note` says what was done to it, and why.
 * Throws an Error that says why it cannot be.
 */
export async function prepared(file, limits) {
  const name = file.name || "picture";
  const type = file.type || UNSHOWN.get(name.toLowerCase().split(".").pop()) || "";
  const kept = { id: newId(), name, type, width: null, height: null, blob: file, note: "" };
  if (!type.startsWith("image/")) throw new Error(`${name} is no picture; a PNG or a JPEG would do.`);
  const image = await decoded(file);
  if (!image) {
    if (READ.has(type)) return kept; // the server may well read it
    throw new Error(`${name} cannot be read here as a picture; save it as PNG or JPEG.`);
  }
  const room = limits.body - MARGIN;
  Object.assign(kept, { width: image.naturalWidth, height: image.naturalHeight });
  const pixels = kept.width * kept.height;
  const large = pixels > limits.pixels, heavy = encoded(file.size) > room, unread = !READ.has(type);
  if (!large && !heavy && !unread) return kept;
  return made(kept, image, large ? limits.pixels : pixels, room, { large, heavy, unread }, limits);
}

async function decoded(blob) {
  const image = new Image();
  const address = URL.createObjectURL(blob);
  try {
    image.src = address;
    await image.decode();
    return image.naturalWidth && image.naturalHeight ? image : null;
  } catch { return null; } finally { URL.revokeObjectURL(address); }
}

/** Drawn anew: not more pixels than `pixels`, not more bytes (as base64) than `room`. */
async function made(picture, image, pixels, room, why, limits) {
  const { width, height } = picture;
  let type = picture.type === "image/jpeg" ? "image/jpeg" : "image/png";
  let share = Math.min(1, Math.sqrt(pixels / (width * height)));
  for (let tries = 0; tries < 30; tries++) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(width * share));
    canvas.height = Math.max(1, Math.floor(height * share));
    const brush = canvas.getContext("2d");
    if (type === "image/jpeg") { brush.fillStyle = "#fff"; brush.fillRect(0, 0, canvas.width, canvas.height); }
    brush.imageSmoothingQuality = "high";
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => { canvas.toBlob(resolve, type, 0.92); });
    if (!blob) break;
    if (encoded(blob.size) <= room) {
      return { ...picture, type, blob, width: canvas.width, height: canvas.height, note: said(picture, canvas, type, why, limits) };
    }
    if (type === "image/png") type = "image/jpeg"; else share *= 0.8;
  }
  throw new Error(`${picture.name} is too large for this server and could not be made smaller here; shrink it.`);
}

function said(picture, canvas, type, why, limits) {
  const before = `${number(picture.width)} × ${number(picture.height)}`;
  const after = `${number(canvas.width)} × ${number(canvas.height)}`;
  const done = [];
  if (before !== after) done.push(`made smaller, from ${before} to ${after} pixels`);
  if (type !== picture.type) done.push(`written as ${READ.get(type)}`);
  const causes = [];
  if (why.large) causes.push(`takes at most ${number(limits.pixels)} pixels a picture`);
  if (why.heavy) causes.push(`takes at most ${number(limits.body)} bytes a request`);
  if (why.unread) causes.push(`reads no ${picture.type.slice(6).replace(/\+.*/, "").toUpperCase()}`);
  return `${done.join(" and ") || "encoded anew"}, as this server ${causes.join(" and ")}`;
}

/** The pictures of open conversations, by id: what is stored, shown, sent. */
export class Album {
  #records = new Map(); #addresses = new Map(); #store;

  constructor(store) {
    this.#store = store;
  }

  add(picture) {
    this.#records.set(picture.id, picture);
  }

  /** The record; undefined if it is lost. */
  async record(id) {
    if (!this.#records.has(id)) {
      const found = await this.#store.picture(id);
      if (found) this.#records.set(id, found);
    }
    return this.#records.get(id);
  }

  async #address(id) {
    if (!this.#addresses.has(id)) {
      const record = await this.record(id);
      if (record) this.#addresses.set(id, URL.createObjectURL(record.blob));
    }
    return this.#addresses.get(id);
  }

  /** Shows a picture in an `img`; one that cannot be shown leaves its name. */
  async show(image, id) {
    const [record, address] = [await this.record(id), await this.#address(id)];
    if (!record) { image.alt = "a picture that this browser has no more"; return; }
    image.alt = record.name;
    if (record.width) Object.assign(image, { width: record.width, height: record.height });
    if (record.width) image.src = address;
  }

  /** The picture as a data URL. Throws if it is lost. */
  async dataUrl(id) {
    const record = await this.record(id);
    if (!record) throw new Error("a picture of this conversation is no longer in this browser; edit the question and take it away");
    return dataUrl(record.blob, record.type);
  }

  /** Lets go of what is shown of a conversation that is left. */
  clear() {
    for (const address of this.#addresses.values()) URL.revokeObjectURL(address);
    this.#addresses.clear();
    this.#records.clear();
  }
}

export function dataUrl(blob, type) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(`data:${type}${reader.result.slice(reader.result.indexOf(";base64,"))}`);
    reader.onerror = () => reject(new Error("a picture could not be read any more; add it again"));
    reader.readAsDataURL(blob);
  });
}
