// Sends the visitor's choices to Python (cardiov/app/page.py) and shows the answers; their HTML is escaped there.

const ANSWER_TIMEOUT = 60000; // ms

function render({ model, el }) {
  el.classList.add("cardiov");
  el.innerHTML = model.get("form");
  const part = (name) => el.querySelector(`[data-part=${name}]`);
  const show = (name, text) => { part(name).textContent = text; };
  let request = 0; // number of the latest question; answers to older ones are ignored
  let chosen = []; // files, read again when rate or unit change
  let timer;

  function busy(status) {
    show("error", "");
    show("status", status);
    el.setAttribute("aria-busy", "true");
  }

  function done(status) {
    clearTimeout(timer);
    el.removeAttribute("aria-busy");
    show("status", status);
  }

  function fail(error) { // also removes the result of an earlier ECG, which would be misleading
    done("");
    show("error", error);
    part("result").hidden = true;
    part("result").innerHTML = "";
  }

  function ask(question, status, buffers = []) {
    request += 1;
    busy(status);
    clearTimeout(timer);
    timer = setTimeout(() => fail("the program does not answer: reload the page, or start the program again."), ANSWER_TIMEOUT);
    model.send({ ...question, request }, undefined, buffers);
  }

  function refuse(error) {
    request += 1; // an open question is out of date, too
    fail(error);
  }

  async function upload() {
    busy("Reading …");
    const size = chosen.reduce((sum, file) => sum + file.size, 0);
    const mib = (bytes, digits) => `${(bytes / 2 ** 20).toFixed(digits)} MiB`;
    if (size > model.get("max_bytes")) { // a message beyond the server's limit would cut the connection
      return refuse(`the upload has ${mib(size, 1)}: give at most ${mib(model.get("max_bytes"), 0)}, or cut the record.`);
    }
    if (!part("fs").checkValidity()) {
      return refuse("the sampling rate is not a number of Hz: correct it or leave it out.");
    }
    const fs = part("fs").value === "" ? null : part("fs").valueAsNumber;
    const question = { ask: "files", names: chosen.map((file) => file.name), fs, unit: part("unit").value || null };
    try {
      const buffers = await Promise.all(chosen.map((file) => file.arrayBuffer()));
      part("example").value = "";
      ask(question, `Scoring ${question.names.join(", ")} …`, buffers);
    } catch {
      refuse("the browser cannot read this: give files, not a folder, and check that they still exist.");
    }
  }

  function choose(files) {
    if (files.length === 0) return;
    chosen = [...files];
    upload();
  }

  part("files").addEventListener("change", ({ target }) => {
    choose(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  for (const name of ["fs", "unit"]) {
    part(name).addEventListener("change", () => { if (chosen.length) upload(); });
  }
  part("example").addEventListener("change", ({ target }) => {
    chosen = [];
    if (target.value) ask({ ask: "example", name: target.value }, `Scoring the example: ${target.value} …`);
  });
  el.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  el.addEventListener("change", ({ target }) => {
    if (target.name === "cardiov-heat") ask({ ask: "heat", stage: Number(target.value) }, "Drawing …");
  });

  // the whole window takes files; dropped beside the label they would replace the page
  const listening = new AbortController();
  const options = { signal: listening.signal };
  const mark = (event) => {
    event.preventDefault();
    el.querySelector(".drop").classList.toggle("over", event.type === "dragover");
  };
  window.addEventListener("dragover", mark, options);
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(event); }, options);
  window.addEventListener("drop", (event) => { mark(event); choose(event.dataTransfer.files); }, options);

  const answer = (message) => {
    if (message.request !== request) return;
    if (message.error) return fail(message.error);
    if (message.picture) {
      part("picture").src = message.picture;
      part("picture").alt = message.alt;
      show("caption", message.alt);
      return done("");
    }
    part("result").innerHTML = message.html;
    part("result").hidden = false;
    done(message.announcement);
  };
  model.on("msg:custom", answer);
  return () => {
    model.off("msg:custom", answer);
    listening.abort();
  };
}

export default { render };
