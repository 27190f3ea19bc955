"""`./run pictures` takes the handbook's pictures in both languages, of a site with sample data and a clock of its own.

Each picture has a line in words.json: the words on its buttons, links, headings and labels. A nightly test takes all
pictures again and compares these words, so that no picture stays behind the pages.
"""

import datetime
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from payments_site.demo.site import ROOT
from tests import chromium
from tests.live_site import LiveSite

NOW = datetime.datetime(2027, 3, 9, 11, 47, tzinfo=ZoneInfo("Europe/Paris"))  # a Tuesday
FOLDERS = {"en": ROOT / "docs/images", "fr": ROOT / "docs/fr/images"}
LOCALES = {"en": "en-GB", "fr": "fr-FR"}
PASSWORD = "demo"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}
SCALE = 1.5  # pixels of a picture for each pixel of a page
MS = 60_000  # how long a page may take to show something
WORDS = """() => [...document.querySelectorAll("h1, h2, h3, button, a, label, legend, summary, th")].filter((node) => {
  const { top, bottom, left, right, width } = node.getBoundingClientRect();
  return width > 1 && bottom > 0 && right > 0 && top < innerHeight && left < innerWidth && node.checkVisibility();
}).map(node => node.innerText)"""


class Screen:
    """A browser in which one of the sample people works, on a computer or a phone."""

    def __init__(self, camera: "Camera", name: str, look: dict[str, Any]) -> None:
        self.camera = camera
        self.page = camera.new_context(**look).new_page()
        self.page.goto("/login/")
        self.page.locator("#id_login").fill(name)
        self.page.locator("#id_password").fill(PASSWORD)
        self.page.locator("button[type=submit]").first.click()
        self.page.wait_for_url(lambda url: "/login/" not in url)

    def open(self, path: str) -> Page:
        """Open a page and wait until it is live."""
        self.page.goto(path)
        expect(self.page.locator("html")).to_have_attribute("data-live", "connected")
        return self.page


class Camera:
    """Takes the pictures of one language into `folder` and notes their words in `words`."""

    def __init__(self, browser: Browser, site: LiveSite, language: str, folder: Path) -> None:
        self.browser, self.site, self.language, self.folder = browser, site, language, folder
        self.words: dict[str, list[str]] = {}
        self.scenes: list[tuple[Image.Image, Image.Image]] = []

    def new_context(self, **look: Any) -> BrowserContext:
        options: dict[str, Any] = {
            "locale": LOCALES[self.language],
            "timezone_id": "Europe/Paris",
            "color_scheme": "light",
        }
        context = self.browser.new_context(
            base_url=self.site.url, device_scale_factor=SCALE, reduced_motion="reduce", **options, **look
        )
        context.set_default_timeout(MS)
        context.clock.install(time=NOW)
        return context

    def shoot(self, page: Page, name: str) -> None:
        """Save what the window shows, in at most 256 colours, as `name` and the window's width."""
        page.mouse.move(0, 0)
        page.evaluate("document.fonts.ready")
        words = settled_words(page)
        file = f"{name}-{page.viewport_size['width'] if page.viewport_size else 0}.png"
        shown = image_of(page).quantize(256, dither=Image.Dither.NONE)
        shown.save(self.folder / file, optimize=True)
        self.words[file] = words

    def film(self, phone: Page, desk: Page) -> None:
        """Keep what both screens show now as a scene of the moving picture."""
        self.scenes.append((image_of(phone), image_of(desk)))

    def save_film(self) -> None:
        """Save the scenes, phone beside desk, as an animated picture; the last one stays longest."""
        frames = [beside(*scene) for scene in self.scenes]
        seconds = [2000] * (len(frames) - 1) + [5000]
        palette = frames[-1].quantize(255, dither=Image.Dither.NONE)
        first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        first.save(self.folder / "live.gif", save_all=True, append_images=rest, duration=seconds, loop=0, optimize=True)


def settled_words(page: Page) -> list[str]:
    """Return the words on the page, sorted, as soon as three looks at it find the same ones.

    A change brings the parts of a page one after the other.
    """
    seen: list[list[str]] = []
    while len(seen) < 3 or not seen[-1] == seen[-2] == seen[-3]:
        page.wait_for_timeout(500)
        seen.append(sorted({masked(text) for text in page.evaluate(WORDS) if text.strip()}))
    return seen[-1]


def image_of(page: Page) -> Image.Image:
    return Image.open(BytesIO(page.screenshot())).convert("RGB")


def beside(phone: Image.Image, desk: Image.Image, height: int = 520, gap: int = 16) -> Image.Image:
    """Return one picture with both screens at the same height in pixels."""
    small = [
        each.resize((each.width * height // each.height, height), Image.Resampling.LANCZOS) for each in (phone, desk)
    ]
    whole = Image.new("RGB", (small[0].width + gap + small[1].width, height), "white")
    whole.paste(small[0], (0, 0))
    whole.paste(small[1], (small[0].width + gap, 0))
    return whole


def masked(text: str) -> str:
    """Return the words of `text` with what is different in each run, such as references and times, left out."""
    text = re.sub(r"\b[A-Z0-9]{8}\b", "…", " ".join(text.split()))
    return re.sub(r"\d+", "0", text)


@contextmanager
def sample_site(folder: Path) -> Iterator[LiveSite]:
    """Return a context manager with the demo's site, whose clock says NOW when it starts."""
    ahead = NOW.timestamp() - time.time()
    clock = {"PYTHONPATH": str(ROOT / "tests/moved_clock"), "CLOCK_AHEAD": str(ahead)}
    site = LiveSite(folder, **clock)
    try:
        site.make_database()
        site.start()
        site.python("-m", "payments_site.demo.sample")
        site.at_stripe("clock", advance=600)  # by then, Stripe says what the newest transfer contains
        site.manage("mirror")
        site.at_stripe("clock", advance=-600)
        yield site
    finally:
        site.stop()


def take(camera: Camera) -> None:
    """Take all pictures of one language."""
    desk, phone = Screen(camera, "accueil", DESKTOP), Screen(camera, "camille", PHONE)
    small = Screen(camera, "accueil", PHONE)
    camera.shoot(small.open("/desk/"), "desk")
    take_payment(camera, desk, phone)
    take_dialogs(camera, desk.page)
    take_money(camera, Screen(camera, "compta", DESKTOP))


def take_payment(camera: Camera, desk: Screen, phone: Screen) -> None:
    """Take the counter and the patient's phone, before and while the patient pays."""
    day = desk.open("/desk/")
    camera.shoot(phone.open("/appointments/"), "patient")
    path = unpaid_today(phone.page)
    reference = path.strip("/").rpartition("/")[2]
    mine = phone.open(path)
    camera.shoot(mine, "appointment")
    day.locator(f"#row-{reference}").scroll_into_view_if_needed()
    camera.shoot(day, "desk")
    day.locator(f"#open-{reference}").click()
    expect(day.locator(".collecting .qr")).to_be_visible()
    camera.shoot(day, "desk-to-pay")
    camera.film(mine, day)
    payer = phone.page.context.new_page()
    payer.goto(path)
    payer.locator("button[form^=pay-]").click()
    fill_in_card(payer)
    camera.film(payer, day)
    payer.locator("button[value=pay]").click()
    expect(mine.locator("payment-toast[shown]")).to_be_visible()
    expect(day.locator(".owed.is-paid")).to_be_visible()
    expect(day.locator("#news [data-news]")).to_contain_text("Camille Roux")
    for part in (".next", "a[data-needs-refund]", ".past > summary"):
        expect(day.locator(f"#sheet {part}").first).to_be_visible()
    camera.shoot(mine, "toast-patient")
    camera.shoot(day, "toast-desk")
    camera.film(mine, day)
    camera.save_film()


def unpaid_today(page: Page) -> str:
    """Return the path of the first of today's appointments that the patient can still pay."""
    today = page.locator("li", has=page.locator(f"time[datetime^='{NOW:%Y-%m-%d}']"))
    unpaid = today.filter(has=page.locator("button[form^=pay-]"))
    return unpaid.get_by_role("link").first.get_attribute("href") or ""


def fill_in_card(page: Page) -> None:
    """Fill in the sandbox's payment page with a card that is paid."""
    for name, value in (
        ("card_number", "4242424242424242"),
        ("exp", "12 / 34"),
        ("cvc", "123"),
        ("name", "Camille Roux"),
    ):
        page.locator(f"input[name={name}]").fill(value)


def take_dialogs(camera: Camera, day: Page) -> None:
    """Take the forms for a refund and for a new appointment."""
    form = opened(day, day.locator("#sheet a[data-needs-refund][href*='/refund/']").first)
    form.locator("#id_amount").fill("10")
    camera.shoot(day, "refund")
    day.keyboard.press("Escape")
    expect(form).to_be_hidden()
    form = opened(day, day.locator("a[href*='/desk/book/']").first)
    form.locator("select[name=practitioner]").select_option(index=1)
    form.locator("select[name=service]").select_option(index=1)
    expect(form.locator(".quick-times button").first).to_be_visible()
    expect(form.locator("[name=price]")).not_to_have_value("")
    form.locator("#booking-q").press_sequentially("ca")
    expect(form.locator("#booking-matches button").first).to_be_visible()
    camera.shoot(day, "booking")


def opened(page: Page, link: Locator) -> Locator:
    """Press a link that opens a dialog, and return the dialog."""
    link.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def take_money(camera: Camera, books: Screen) -> None:
    """Take the pages for what is to review, the closing with two euros too little, the journal and a transfer."""
    camera.shoot(books.open("/review/"), "review")
    page = books.open("/desk/closing/")
    count = page.locator("[data-drawer] .counted input").first
    count.fill("170")
    count.blur()
    page.evaluate("scrollTo(0, 0)")
    camera.shoot(page, "closing")
    camera.shoot(books.open("/desk/journal/"), "journal")
    books.open("/desk/transfers/").locator("main table a").first.click()
    expect(page.locator("main h1")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-live", "connected")
    camera.shoot(page, "transfer")


def take_all(browser: Browser, folder_of: Callable[[str], Path]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Take all pictures; yield each language with the words of its pictures, by file."""
    for language in FOLDERS:
        with tempfile.TemporaryDirectory() as folder, sample_site(Path(folder)) as site:
            camera = Camera(browser, site, language, folder_of(language))
            take(camera)
            yield language, camera.words


def main() -> None:
    expect.set_options(timeout=MS)
    for folder in FOLDERS.values():
        folder.mkdir(exist_ok=True)
    with chromium.running() as browser:
        for language, words in take_all(browser, FOLDERS.__getitem__):
            text = json.dumps(words, ensure_ascii=False, indent=1, sort_keys=True)
            (FOLDERS[language] / "words.json").write_text(f"{text}\n")
            sys.stdout.write(f"{language}: {len(words)} pictures\n")


if __name__ == "__main__":
    main()
