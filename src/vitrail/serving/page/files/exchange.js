// Conversations as a file, out and in. What comes in is checked field by field; only what is known is taken over.
import { SETTINGS, STATES, MOST_COLUMNS, newId, ROOT } from "./conversation.js";
import { dataUrl } from "./pictures.js";

const FORMAT = "vitrail conversations";
const VERSION = 1;
const MOST_METHODS = 64, MOST_TRACE = 2 ** 22;

/** The text of a file with these conversations, pictures included. */
export async function exported(store, ids) {
  const conversations = [];
  for (const id of ids) {
    const conversation = await store.read(id);
    if (!conversation) continue;
    const pictures = [];
    for (const { id: own, name, type, width, height, note, blob } of await store.pictures(id)) {
      pictures.push({ id: own, name, type, width, height, note, data: await dataUrl(blob, type) });
    }
    conversations.push({ ...conversation, pictures });
  }
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1);
}

/** The conversations of such a file: [{ conversation, pictures }], under new ids. Throws an Error with the reason. */
export function imported(text) {
  let file;
  try { file = JSON.parse(text); } catch { throw new Error("it is no JSON; choose a file that this page exported"); }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) throw new Error("it is no export of this page; choose one");
  if (file.version !== VERSION) throw new Error(`its version is ${JSON.stringify(file.version)}; this page reads version ${VERSION}`);
  return file.conversations.map((raw, place) => conversationOf(raw, `conversations[${place}]`));
}

function fault(where, what) {
  throw new Error(`${where} ${what}`);
}
const text = (value, where) => typeof value === "string" ? value : fault(where, "must be a text");
const list = (value, where) => Array.isArray(value) ? value : fault(where, "must be a list");
const object = (value, where) => value && typeof value === "object" && !Array.isArray(value) ? value : fault(where, "must be an object");
const oneOf = (value, known, where) => known.includes(value) ? value : fault(where, `must be one of ${known.join(", ")}`);
const amount = (value, where, least = 0, most = Number.MAX_SAFE_INTEGER) =>
  value === null || value === undefined ? null : typeof value === "number" && value >= least && value <= most ? value : fault(where, `must be a number from ${least} to ${most}`);

function conversationOf(raw, where) {
  object(raw, where);
  const ids = new Map([[ROOT, ROOT]]);
  const anew = (id, at) => { if (typeof id !== "string" || !id || ids.has(id)) fault(at, "must be an id of its own"); ids.set(id, newId()); return ids.get(id); };
  const known = (id, at) => ids.get(id) ?? fault(at, "names what is not there");
  const pictures = list(raw.pictures, `${where}.pictures`).map((one, place) => pictureOf(one, `${where}.pictures[${place}]`, anew));
  const columns = list(raw.columns, `${where}.columns`).map((one, place) => {
    const at = `${where}.columns[${place}]`;
    return { id: anew(object(one, at).id, `${at}.id`), ...settings(one, at) };
  });
  if (columns.length < 1 || columns.length > MOST_COLUMNS) fault(`${where}.columns`, `must be 1 to ${MOST_COLUMNS}`);
  const rounds = [];
  for (const [place, one] of list(raw.rounds, `${where}.rounds`).entries()) rounds.push(roundOf(one, `${where}.rounds[${place}]`, anew, known));
  const chosen = {};
  for (const [parent, child] of Object.entries(object(raw.chosen, `${where}.chosen`))) {
    const id = known(child, `${where}.chosen`);
    if (rounds.find((round) => round.id === id)?.parent !== known(parent, `${where}.chosen`)) fault(`${where}.chosen`, "names a round that is not there");
    chosen[ids.get(parent)] = id;
  }
  const now = Date.now();
  const conversation = {
    id: newId(), title: text(raw.title, `${where}.title`).slice(0, 200), named: raw.named === true,
    created: amount(raw.created, `${where}.created`) ?? now, changed: amount(raw.changed, `${where}.changed`) ?? now, columns, rounds, chosen,
  };
  return { conversation, pictures };
}

function settings(raw, where) {
  const set = { model: text(raw.model, `${where}.model`), system: text(raw.system ?? "", `${where}.system`) };
  for (const [name, [least, most]] of Object.entries(SETTINGS)) set[name] = amount(raw[name], `${where}.${name}`, least, most);
  set.methods = list(raw.methods ?? [], `${where}.methods`).slice(0, MOST_METHODS).map((one) => text(one, `${where}.methods`).slice(0, 100));
  return set;
}

function roundOf(raw, where, anew, known) {
  const parent = known(object(raw, where).parent, `${where}.parent`);
  const id = anew(raw.id, `${where}.id`);
  const pictures = list(raw.pictures, `${where}.pictures`).map((one) => known(one, `${where}.pictures`));
  const answers = {};
  for (const [column, answer] of Object.entries(object(raw.answers, `${where}.answers`))) {
    const at = `${where}.answers.${column}`;
    const versions = list(object(answer, at).versions, `${at}.versions`).map((one, place) => versionOf(one, `${at}.versions[${place}]`, known));
    const shown = amount(answer.shown, `${at}.shown`, 0, versions.length - 1) ?? 0;
    if (versions.length && ids(known, column)) answers[known(column, at)] = { shown: Math.floor(shown), versions };
  }
  return { id, parent, text: text(raw.text, `${where}.text`), pictures, answers };
}

/** Whether a column (or a picture) is still there; answers of one that was taken away are left out. */
function ids(known, column) {
  try { return Boolean(known(column, "")); } catch { return false; }
}

function versionOf(raw, where, known) {
  object(raw, where);
  const state = oneOf(raw.state, STATES, `${where}.state`);
  const asked = settings(object(raw.asked, `${where}.asked`), `${where}.asked`);
  return {
    text: text(raw.text, `${where}.text`), state: state === "writing" ? "broken" : state, problem: text(raw.problem ?? "", `${where}.problem`), asked: { ...asked, seed: asked.seed ?? 0 },
    reason: raw.reason === null ? null : text(raw.reason ?? "", `${where}.reason`), tokens: amount(raw.tokens, `${where}.tokens`), seconds: amount(raw.seconds, `${where}.seconds`),
    did: didOf(raw.did ?? null, `${where}.did`, known),
  };
}

/** What methods did is shown with care (methods.js); here it is only kept from being large. */
function didOf(raw, where, known) {
  if (raw === null) return null;
  const methods = object(object(raw, where).methods, `${where}.methods`);
  if (JSON.stringify(methods).length > MOST_TRACE) fault(`${where}.methods`, `must have at most ${MOST_TRACE} characters`);
  for (const trace of Object.values(methods)) object(trace, `${where}.methods`);
  return { methods, pictures: list(raw.pictures, `${where}.pictures`).map((id) => ids(known, id) ? known(id, where) : "") };
}

function pictureOf(raw, where, anew) {
  object(raw, where);
  const found = /^data:(image\/[\w.+-]+);base64,([A-Za-z0-9+/]*={0,2})$/.exec(text(raw.data, `${where}.data`));
  if (!found) fault(`${where}.data`, "must be a picture as data:image/…;base64,…");
  let bytes;
  try { bytes = Uint8Array.from(atob(found[2]), (char) => char.charCodeAt(0)); } catch { fault(`${where}.data`, "is no base64"); }
  return {
    id: anew(raw.id, `${where}.id`), name: text(raw.name, `${where}.name`).slice(0, 200), type: found[1], note: text(raw.note ?? "", `${where}.note`),
    width: amount(raw.width, `${where}.width`, 1), height: amount(raw.height, `${where}.height`, 1), blob: new Blob([bytes], { type: found[1] }),
  };
}
