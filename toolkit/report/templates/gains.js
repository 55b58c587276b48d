"use strict";
// The capacity slider: reads the curves that the page carries and fills the page's own sentences.
(() => {
  const { sentences, targets } = JSON.parse(document.getElementById("capacities").textContent);
  const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
  const minus = text => text.replace("-", "−");
  const count = n => Number.isFinite(n) ? minus(whole.format(n)) : "–";
  const share = p => {
    if (!Number.isFinite(p)) return "–";
    const percent = 100 * p;
    if (percent > 0 && percent < 0.05) return "below 0.1\u00a0%";
    return minus(percent.toFixed(Math.abs(percent) >= 9.95 || percent === 0 ? 0 : 1)) + "\u00a0%";
  };
  const few = n => !Number.isFinite(n) || Math.abs(n) >= 9.95 ? count(n) : minus(n.toFixed(1).replace(/\.0$/, ""));
  const times = x => Number.isFinite(x) ? minus(x.toFixed(1)) + " times" : "–";
  const quantity = x => {
    if (Math.abs(x) >= 1e9) return minus(String(Number((x / 1e9).toPrecision(3)))) + " billion";
    if (Math.abs(x) >= 1e6) return minus(String(Number((x / 1e6).toPrecision(3)))) + " million";
    return count(x);
  };
  const rough = (value, low, high, most) => { // as figures.rough
    const half = (high - low) / 2;
    if (!(half >= 0.5)) return few(value);
    let place = 10 ** Math.floor(Math.log10(half));
    if (half < 2 * place) place /= 10;
    place = Math.max(place, 1);
    const arm = Math.floor(half / place + 0.5) * place;
    if (Math.abs((low + high) / 2 - value) > {{ leans }} * 2 * half || value - arm <= 0 || value + arm > most)
      return fill(sentences.around, { value: few(value), low: count(low), high: count(high) });
    return `${few(value)}\u00a0±\u00a0${count(arm)}`;
  };
  const at = (x, xs, ys) => { // as np.interp to the last bit: linear between the points, flat outside
    if (x <= xs[0]) return ys[0];
    for (let i = 1; i < xs.length; i++)
      if (x < xs[i]) {
        if (ys[i - 1] === null || ys[i] === null) return NaN;
        return (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1]) * (x - xs[i - 1]) + ys[i - 1];
      }
    return ys[ys.length - 1];
  };
  const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

  for (const figure of document.querySelectorAll("[data-gains]")) {
    const gains = targets[figure.dataset.gains];
    const [slider, number] = figure.querySelectorAll("input");
    const [first, second, third, fourth] = figure.querySelectorAll("output p");
    const line = figure.querySelector("line.marker"), dot = figure.querySelector("circle.marker");
    const { left, right, top, bottom } = gains.box;

    const show = called => {
      const curve = name => at(called, gains.called, gains[name]);
      const found = curve("found"), random = called * gains.positives / gains.rows;
      first.textContent = fill(sentences.capacity, {
        called: count(called), rows: count(gains.rows), share: share(called / gains.rows),
        found: rough(found, curve("low"), curve("high"), called),
      });
      second.textContent = fill(sentences.compared, {
        random: few(random), lift: times(found / random), capture: share(found / gains.positives),
      });
      if (gains.rule.length) third.textContent = fill(sentences.ruled, { rule: few(curve("rule")) });
      if (gains.value) {
        const value = curve("value");
        const low = gains.value_low ? curve("value_low") : NaN, high = gains.value_high ? curve("value_high") : NaN;
        const known = Number.isFinite(low) && Number.isFinite(high);
        fourth.textContent = fill(sentences.worth, {
          value: quantity(value), total: quantity(gains.total), portion: share(value / gains.total),
          within: known ? fill(sentences.within, { low: quantity(low), high: quantity(high) }) : "",
          average: quantity(gains.total * called / gains.rows),
        });
      }
      const x = left + called / gains.rows * (right - left), y = bottom - found / gains.top * (bottom - top);
      line.setAttribute("x1", x); line.setAttribute("x2", x); line.setAttribute("y2", y);
      dot.setAttribute("cx", x); dot.setAttribute("cy", y);
    };
    const take = (from, to) => {
      const called = Math.min(Math.max(Math.round(Number(from.value) || 0), 1), gains.rows);
      to.value = called;
      show(called);
    };
    // A step of the keyboard is a hundredth of the list; the number beside takes any.
    slider.addEventListener("keydown", event => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!steps) return;
      event.preventDefault();
      slider.value = Number(slider.value) + steps * Math.max(1, Math.round(gains.rows / 100));
      take(slider, number);
    });
    slider.addEventListener("input", () => take(slider, number));
    number.addEventListener("input", () => take(number, slider));
    slider.value = number.value = number.defaultValue; // a reloaded page begins anew
    figure.querySelector(".capacity").hidden = false;
  }
})();
