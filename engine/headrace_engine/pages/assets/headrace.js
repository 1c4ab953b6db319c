// What pages do by themselves where scripts run. Without any of this they work: forms are sent and pages reloaded.
"use strict";

const api = "/api/v1/main";

/* Forms: a change of a field on which others depend asks for the fields anew; what was typed stays as it is. */
for (const form of document.querySelectorAll("form[data-fill]")) {
  const button = form.querySelector("[data-update]");
  if (!button) continue;
  let asked = 0;
  const update = async () => {
    const mine = ++asked;
    const data = new FormData(form);
    for (const [name, value] of [...data]) if (value instanceof File) data.delete(name);
    if (button.name) data.set(button.name, button.value);
    const answer = await fetch(form.dataset.fill, { method: "POST", body: data });
    if (!answer.ok || mine !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("fields");
    if (fresh) merge(form.querySelector("#fields"), fresh);
  };
  form.addEventListener("change", (event) => {
    if (event.target.matches("[data-needed]")) update();
  });
}

function merge(fields, fresh) {
  const old = new Map([...fields.children].map((field) => [field.dataset.field, field]));
  let before = null;
  for (const field of [...fresh.children]) {
    const known = old.get(field.dataset.field);
    old.delete(field.dataset.field);
    const isSame = known && choices(known) === choices(field);
    const kept = isSame || (known && known.contains(document.activeElement)) ? known : field;
    if (known && kept !== known) known.replaceWith(kept);
    else if (!known) fields.insertBefore(kept, before ? before.nextSibling : fields.firstChild);
    before = kept;
  }
  for (const field of old.values()) field.remove();
}

function choices(field) {
  return [...field.querySelectorAll("option, [type=checkbox]")].map((each) => each.value).join("\n");
}

/* Files that are too large for a form go ahead of it, to where the server says; the form then names them. */
for (const form of document.querySelectorAll("form[data-uploads]")) {
  const told = form.querySelector("[data-sending]");
  let isSending = false;
  form.addEventListener("submit", async (event) => {
    const chosen = [...form.querySelectorAll("input[type=file]")].filter((each) => each.files.length);
    const size = chosen.flatMap((each) => [...each.files]).reduce((sum, file) => sum + file.size, 0);
    if (isSending) return event.preventDefault();
    if (size <= Number(form.dataset.largest)) return;
    event.preventDefault();
    if (event.submitter?.matches("[data-update]")) return; // what was typed is asked about, not the files
    isSending = true;
    told.hidden = false;
    try {
      for (const each of chosen) {
        const uris = [];
        for (const file of each.files) uris.push(await send(form, file, told));
        document.getElementById(`${each.id}-other`).value = uris.join("\n");
        each.value = "";
      }
      told.hidden = true;
    } catch (error) {
      told.textContent = `The files could not be sent: ${error.message}`;
      return;
    } finally {
      isSending = false;
    }
    form.requestSubmit(event.submitter);
  });
}

async function send(form, file, told) {
  const answer = await fetch(form.dataset.uploads, {
    method: "POST",
    headers: { "content-type": "application/json", "headrace-proof": form.elements._proof.value },
    body: JSON.stringify({ name: file.name, size: file.size }),
  });
  const place = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(place.message ?? `the server answers ${answer.status}`);
  await new Promise((done, failed) => {
    const request = new XMLHttpRequest(); // unlike fetch, it tells how far it is
    request.open(place.method, place.url);
    request.upload.addEventListener("progress", ({ loaded }) => {
      told.textContent = `Sending ${file.name}: ${file.size ? Math.floor((100 * loaded) / file.size) : 100} %`;
    });
    request.addEventListener("load", () =>
      request.status < 300 ? done() : failed(new Error(`it was refused with ${request.status}`)),
    );
    request.addEventListener("error", () => failed(new Error("nobody took it")));
    request.send(file);
  });
  return place.uri;
}

const wrong = document.getElementById("wrong");
if (wrong) wrong.focus();

/* Executions: the page is shown anew when the execution changes; log lines are added as they come. */
const live = document.getElementById("live");
if (live && "open" in live.dataset) {
  follow(live.dataset.execution);
}

function follow(id) {
  const path = encodeURIComponent(id);
  let waiting = null;
  const show = async () => {
    waiting = null;
    const active = document.activeElement;
    const isInside = document.getElementById("live").contains(active);
    if (isInside && !active.matches("summary, .scroll, pre")) return again(); // somebody is about to press it
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    const now = document.getElementById("live");
    if (!fresh) return;
    const open = [...now.querySelectorAll("details[open]")].map((each) => each.id);
    const focused = isInside ? active.closest("details")?.id : null;
    now.replaceWith(fresh);
    for (const each of open) document.getElementById(each)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.querySelector("summary").focus();
    document.title = page.title;
  };
  const again = () => {
    waiting ??= setTimeout(show, 700);
  };
  const changes = new EventSource(`${api}/executions/${path}/follow`);
  changes.addEventListener("progress", again);
  changes.addEventListener("end", () => {
    changes.close();
    again();
  });
  const lines = document.querySelector("#lines tbody");
  const box = lines.closest(".logs");
  let isFirst = true;
  const log = new EventSource(`${api}/logs/${path}/follow`);
  log.addEventListener("progress", (event) => {
    if (isFirst) lines.replaceChildren(); // it tells all of them
    isFirst = false;
    const isAtEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
    lines.append(row(JSON.parse(event.data)));
    while (lines.childElementCount > 5000) lines.firstElementChild.remove();
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  });
  log.addEventListener("end", () => log.close());
}

function row(line) {
  const found = document.createElement("tr");
  found.className = line.level.toLowerCase();
  const when = line.timestamp.replace("T", " ").slice(0, 19);
  for (const text of [when, line.level, line.taskId ?? "", line.message]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    found.append(cell);
  }
  found.lastChild.className = "message";
  return found;
}
