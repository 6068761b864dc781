// Shows one number of evaluations at a time; without this script all are shown one below the other.
(() => {
  const slider = document.getElementById("slider");
  if (!slider) return;
  document.body.classList.add("scripted");
  const stops = [...document.querySelectorAll("[data-stop]")];
  const lines = document.querySelectorAll("#errors .now");
  const nfes = stops.map((stop) => stop.dataset.stop);

  function show(index) {
    const nfe = nfes[index];
    stops.forEach((stop, i) => { stop.hidden = i !== index; });
    const said = `${nfe} evaluations`;
    slider.value = index;
    slider.setAttribute("aria-valuetext", said);
    document.getElementById("shown").textContent = said;
    const across = stops[index].dataset.across;
    lines.forEach((line) => {
      line.setAttribute("visibility", across ? "visible" : "hidden");
      if (across) { line.setAttribute("x1", across); line.setAttribute("x2", across); }
    });
    document.querySelectorAll("#numbers [data-nfe]").forEach((cell) => {
      cell.classList.toggle("now", cell.dataset.nfe === nfe);
    });
  }

  function fromAddress() {
    const asked = nfes.indexOf(new URLSearchParams(location.hash.slice(1)).get("nfe"));
    show(asked < 0 ? Number(slider.value) : asked);
  }

  slider.addEventListener("input", () => {
    show(Number(slider.value));
    history.replaceState(null, "", `#nfe=${nfes[slider.value]}`);
  });
  addEventListener("hashchange", fromAddress);
  document.querySelector(".slider").hidden = nfes.length < 2;
  fromAddress();
})();
