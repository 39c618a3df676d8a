// Sends what the visitor chooses to Python (cardiov/app.py) and shows the answers; the HTML, escaped, comes from there.

const PATIENCE = 60000; // ms without an answer

function render({ model, el }) {
  el.classList.add("cardiov");
  el.innerHTML = model.get("form");
  const part = (name) => el.querySelector(`[data-part=${name}]`);
  const show = (name, text) => { part(name).textContent = text; };
  let request = 0; // number of the newest question; answers to older ones are out of date
  let chosen = []; // files, to be read again when rate or unit change
  let waiting;

  function busy(said) {
    show("error", "");
    show("status", said);
    el.setAttribute("aria-busy", "true");
  }

  function ask(question, said, buffers = []) {
    request += 1;
    busy(said);
    clearTimeout(waiting);
    waiting = setTimeout(() => fail("The program does not answer: reload the page, or start it again."), PATIENCE);
    model.send({ ...question, request }, undefined, buffers);
  }

  function done(said) {
    clearTimeout(waiting);
    el.removeAttribute("aria-busy");
    show("status", said);
  }

  function fail(sentence) { // what an earlier ECG was given must not be taken for this one's
    done("");
    show("error", sentence);
    part("result").hidden = true;
    part("result").innerHTML = "";
  }

  function refuse(sentence) {
    request += 1; // also of a question that is still open
    fail(sentence);
  }

  async function upload() {
    busy("Reading …");
    const size = chosen.reduce((sum, file) => sum + file.size, 0);
    const most = model.get("files"), limit = model.get("limit");
    const mib = (bytes, digits) => `${(bytes / 2 ** 20).toFixed(digits)} MiB`;
    if (chosen.length > most) {
      return refuse(`${chosen.length} files are not one ECG: give the 1 to ${most} files of one.`);
    }
    if (size > limit) { // a message beyond the server's limit would cut the connection
      return refuse(`The upload has ${mib(size, 1)}: give at most ${mib(limit, 0)}, or cut the record.`);
    }
    if (!part("fs").checkValidity()) {
      return refuse("The sampling rate is not a number of Hz: correct it or leave it out.");
    }
    const fs = part("fs").value === "" ? null : part("fs").valueAsNumber;
    const question = { ask: "files", names: chosen.map((file) => file.name), fs, unit: part("unit").value || null };
    try {
      const buffers = await Promise.all(chosen.map((file) => file.arrayBuffer()));
      part("sample").value = "";
      ask(question, `Scoring ${question.names.join(", ")} …`, buffers);
    } catch {
      refuse("The browser cannot read this: give files, not a folder, and check that they are still there.");
    }
  }

  function take(files) {
    if (files.length === 0) return;
    chosen = [...files];
    upload();
  }

  part("files").addEventListener("change", ({ target }) => {
    take(target.files);
    target.value = ""; // so that the same file can be chosen again
  });
  for (const name of ["fs", "unit"]) {
    part(name).addEventListener("change", () => { if (chosen.length) upload(); });
  }
  part("sample").addEventListener("change", ({ target }) => {
    chosen = [];
    if (target.value) ask({ ask: "sample", name: target.value }, `Scoring the simulated ECG: ${target.value} …`);
  });
  el.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  el.addEventListener("change", ({ target }) => {
    if (target.name === "cardiov-heat") ask({ ask: "heat", stage: Number(target.value) }, "Drawing …");
  });

  // a file dropped beside the label would otherwise replace the page
  const over = (event) => {
    event.preventDefault();
    el.querySelector(".drop").classList.toggle("over", event.type === "dragover");
  };
  const drop = (event) => { over(event); take(event.dataTransfer.files); };
  const leave = (event) => { if (!event.relatedTarget) over(event); };
  window.addEventListener("dragover", over);
  window.addEventListener("dragleave", leave);
  window.addEventListener("drop", drop);

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
    done(message.said);
  };
  model.on("msg:custom", answer);
  return () => {
    model.off("msg:custom", answer);
    window.removeEventListener("dragover", over);
    window.removeEventListener("dragleave", leave);
    window.removeEventListener("drop", drop);
  };
}

export default { render };
