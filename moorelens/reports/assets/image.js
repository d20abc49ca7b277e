"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("image-data").textContent);
  const opacity = byId("opacity"), heat = byId("heat"), said = byId("opacity-said");
  const fade = () => {
    heat.style.opacity = String(opacity.value / 100);
    said.textContent = `${opacity.value}\u202f%`;
  };
  opacity.addEventListener("input", fade);
  fade();
  const outlined = byId("outlined");
  if (outlined) outlined.addEventListener("change", () => { byId("outline").hidden = !outlined.checked; });

  const canvas = byId("tried"), context = canvas.getContext("2d", { willReadFrequently: true });
  const step = byId("step"), reading = byId("reading"), stepSaid = byId("step-said");
  const cursor = document.querySelector(".curves .cursor");
  const pixels = (id) => {
    const image = byId(id), own = document.createElement("canvas");
    own.width = canvas.width;
    own.height = canvas.height;
    const paint = own.getContext("2d", { willReadFrequently: true });
    paint.drawImage(image, 0, 0);
    return paint.getImageData(0, 0, own.width, own.height).data;
  };
  const mode = () => document.querySelector("input[name=mode]:checked").value;
  let layers = null;

  const draw = () => {
    const k = Number(step.value), hide = mode() === "hide";
    const out = context.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < out.data.length; i += 4) {
      const moved = 256 * layers.steps[i] + layers.steps[i + 1] <= k;
      const from = moved === hide ? layers.hidden : layers.picture;
      out.data[i] = from[i];
      out.data[i + 1] = from[i + 1];
      out.data[i + 2] = from[i + 2];
      out.data[i + 3] = 255;
    }
    context.putImageData(out, 0, 0);
    stepSaid.textContent = data.areas[k];
    step.setAttribute("aria-valuetext", data.areas[k]);
    const score = data.scores[hide ? "hide" : "show"][k];
    reading.textContent = hide
      ? `With ${data.areas[k]} hidden the score is ${score}.`
      : `With ${data.areas[k]} shown the score is ${score}.`;
    const path = cursor.getAttribute("d").replace(/^M[\d.]+/, `M${data.places[k]}`);
    cursor.setAttribute("d", path);
    cursor.classList.toggle("on", k > 0);
  };

  const sources = ["source-picture", "source-hidden", "source-steps"].map(byId);
  Promise.all(sources.map((image) => image.decode())).then(() => {
    layers = { picture: pixels("source-picture"), hidden: pixels("source-hidden"), steps: pixels("source-steps") };
    step.addEventListener("input", draw);
    for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", draw);
    draw();
  });
})();
