// <desk-sound>: plays two soft notes when a payment is confirmed, if somebody has switched the sound on in this browser.

const STORE = "payments.desk-sound";
const NOTES = [660, 880]; // Hz
const NOTE_SECONDS = 0.18;

function play() {
  const audio = new AudioContext();
  NOTES.forEach((pitch, index) => {
    const tone = new OscillatorNode(audio, { frequency: pitch });
    const volume = new GainNode(audio, { gain: 0.15 });
    const start = audio.currentTime + index * NOTE_SECONDS;
    volume.gain.setTargetAtTime(0, start + NOTE_SECONDS / 2, 0.05);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + NOTE_SECONDS * 2);
  });
  setTimeout(() => audio.close(), 1000);
}

class DeskSound extends HTMLElement {
  #listening;

  connectedCallback() {
    this.hidden = false;
    const toggle = this.querySelector("input");
    toggle.checked = localStorage.getItem(STORE) === "on";
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    toggle.addEventListener("change", () => {
      localStorage.setItem(STORE, toggle.checked ? "on" : "off");
      if (toggle.checked) play(); // browsers play sounds only after a click, so this first one allows the later ones
    }, { signal });
    document.addEventListener("payment:confirmed", () => toggle.checked && play(), { signal });
  }

  disconnectedCallback() {
    this.#listening.abort();
  }
}

customElements.define("desk-sound", DeskSound);
