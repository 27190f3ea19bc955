"""Tests of pages and forms with hostile input: strangers, forged forms, odd amounts and attempted injections."""

import csv
import json
import re
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from django.conf import settings
from django.shortcuts import resolve_url

from payments.desk.exports import FORMULA
from payments_site.demo.site import ROOT
from tests.clinic import Person
from tests.inputs.target import FORM, Answer, Target


def page_of(target: Target, person: int, number: int = 0) -> str:
    return f"/appointments/{target.clinic.patients[person].references[number]}/"


def desk_page_of(target: Target, person: int, number: int = 0) -> str:
    return f"/desk/{target.clinic.patients[person].references[number]}/"


def payment_page(target: Target, person: int, what: str, number: int = 0) -> str:
    return f"/payments/{target.clinic.patients[person].payments[number].public_id}/{what}/"


def form(**fields: Any) -> bytes:
    return urlencode(fields, doseq=True).encode()


def without_what_varies(answer: Answer) -> str:
    text = re.sub(r'name="csrfmiddlewaretoken" value="\w+"|nonce="[^"]+"|seconds="\d+"', "", answer.text)
    return re.sub(r"[0-9a-f]{32}|[0-9a-f-]{36}|(?:/|%2F)appointments(?:/|%2F)\w{8}(?:/|%2F)", "", text)


def location(answer: Answer) -> str:
    return answer.headers["Location"] or ""


PRIVATE = [
    ("GET", "page"),
    ("GET", "calendar"),
    ("GET", "receipt"),
    ("GET", "return"),
    ("POST", "pay"),
    ("POST", "confirm"),
]


def private_path(target: Target, what: str, *, absent: bool = False) -> str:
    if what in ("page", "calendar"):
        page = "/appointments/ZZZZZZZZ/" if absent else page_of(target, 1)
        return page + ("calendar.ics" if what == "calendar" else "")
    return f"/payments/{uuid.uuid4()}/{what}/" if absent else payment_page(target, 1, what)


@pytest.mark.parametrize(("method", "what"), PRIVATE)
def test_another_patient_s_payment_is_answered_as_one_that_does_not_exist(
    target: Target, method: str, what: str
) -> None:
    def ask(path: str) -> Answer:
        post = method == "POST"
        return target.post(target.patient, path, b"") if post else target.as_person(target.patient, "GET", path)

    with target.unmoved():
        theirs, absent = (ask(private_path(target, what, absent=gone)) for gone in (False, True))
    assert (theirs.status, absent.status) == (404, 404)
    assert without_what_varies(theirs) == without_what_varies(absent)


@pytest.mark.parametrize(("method", "what"), PRIVATE)
def test_a_visitor_is_sent_to_sign_in(target: Target, method: str, what: str) -> None:
    nobody = Person("nobody", 0, "", [], [])
    path = private_path(target, what)
    with target.unmoved():
        answer = target.post(nobody, path, b"") if method == "POST" else target.ask("GET", path)
    assert answer.status == 302
    assert location(answer).startswith(resolve_url(settings.LOGIN_URL) + "?next=/")


def test_a_visitor_s_fragment_leads_the_page_nowhere(target: Target) -> None:
    page = page_of(target, 0)
    for current in (f"{target.site.url}{page}", "http://evil.example/x", "\x80//"):
        headers = [("HX-Request", "true"), ("HX-Current-URL", current)]
        answer = target.ask("GET", page, headers=headers)
        assert (answer.status, answer.body) == (401, b"Signed out.")
        assert "HX-Redirect" not in answer.headers


def test_a_visitor_s_poll_is_told_to_stop(target: Target) -> None:
    assert target.ask("GET", "/payments/live/?after=0").status == 401


@pytest.mark.parametrize(
    "session", ["", "unknown" * 5, "../../etc/passwd", '"\\000aaaaaaaaaaaaaaaa"', "x" * 5000, "'; --aaaa"]
)
def test_a_made_up_session_is_nobody_s(target: Target, session: str) -> None:
    stranger = Person("patient0", target.patient.id, session, [], [])
    with target.unmoved():
        assert target.as_person(stranger, "GET", page_of(target, 0)).status == 302
        assert target.as_person(stranger, "GET", "/payments/live/?after=0").status == 401


STAFF_ONLY = ["/desk/", "/desk/why/", "/desk/export.csv", "/review/", "DESK", "DESKwhy/", "DESKtake/", "DESKrefund/",
              "DESKcancel/", "DESKcollect/"]  # fmt: skip


@pytest.mark.parametrize("path", STAFF_ONLY)
def test_the_desk_is_closed_to_patients(target: Target, path: str) -> None:
    path = path.replace("DESK", desk_page_of(target, 0))
    with target.unmoved():
        assert target.as_person(target.patient, "GET", path).status == 403
        assert target.post(target.patient, path, form(method="cash", amount="50", status="completed")).status in (
            403,
            405,
        )


def test_the_admin_is_closed_to_patients_and_to_staff_without_rights(target: Target) -> None:
    for path in ("/admin/", "/admin/clinic_payments/payment/", "/admin/clinic_accounts/user/"):
        assert target.as_person(target.patient, "GET", path).status in (302, 403, 404)
    for path in ("/admin/clinic_payments/payment/", "/admin/clinic_accounts/user/", "/admin/djstripe/apikey/"):
        assert target.as_person(target.clerk, "GET", path).status in (302, 403)


def test_no_address_on_a_page_can_be_counted_up(target: Target) -> None:
    for person, path in (
        (target.patient, "/appointments/"),
        (target.clerk, "/desk/"),
        (target.clerk, desk_page_of(target, 0)),
    ):
        html = target.as_person(person, "GET", path).text
        addresses = re.findall(r'(?:href|action|hx-\w+)="(/[^"?]*)', html)
        assert addresses
        assert not [address for address in addresses if re.search(r"/\d+(/|$)", address)]


POSTS = ["pay", "confirm", "DESKtake/", "DESKrefund/", "DESKcancel/", "DESKattendance/"]


def posted_path(target: Target, path: str) -> str:
    return path.replace("DESK", desk_page_of(target, 0)) if "/" in path else payment_page(target, 0, path)


@pytest.mark.parametrize("path", [*POSTS, "/logout/", "/language/setlang/"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-CSRFToken", "d" * 32)],
        [("X-CSRFToken", "c" * 32), ("Origin", "http://evil.example")],
        [("X-CSRFToken", "c" * 32), ("Origin", "null")],
    ],
    ids=["no token", "foreign token", "foreign origin", "null origin"],
)  # fmt: skip
def test_a_form_from_elsewhere_is_refused(target: Target, path: str, headers: list[tuple[str, str]]) -> None:
    person = target.clerk if "DESK" in path else target.patient
    path = path if path.startswith("/") else posted_path(target, path)
    cookie = ("Cookie", f"sessionid={person.session}; csrftoken={'c' * 32}")
    with target.unmoved():
        answer = target.ask(
            "POST", path, form(method="cash", amount="50,00"), [cookie, ("Content-Type", FORM), *headers]
        )
    assert answer.status == 403


@pytest.mark.parametrize("path", ["pay", "confirm", "DESKattendance/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_what_changes_something_is_only_posted(target: Target, path: str, method: str) -> None:
    path = path if path.startswith("/") else posted_path(target, path)
    with target.unmoved():
        answer = target.as_person(target.clerk, method, path, headers=[("X-CSRFToken", "c" * 32)])
    if method in ("GET", "HEAD"):
        assert (answer.status, location(answer)) == (302, desk_page_of(target, 0))
    else:
        assert answer.status in (405, 403)


MODEL_FIELDS = {
    "amount": "1", "amount_due": "1", "price": "1", "price_amount": "1", "currency": "jpy", "status": "paid",
    "amount_received": "99999", "amount_refunded": "1", "refunded": "1", "patient": "1", "appointment": "1",
    "version": "9", "public_id": str(uuid.uuid4()), "is_staff": "1", "user": "1", "reviews": "[]",
}  # fmt: skip


def test_the_price_is_the_server_s_whatever_a_form_says(target: Target) -> None:
    payment = target.patient.payments[3]
    answer = target.post(target.patient, payment_page(target, 0, "pay", 3), form(**MODEL_FIELDS))
    assert answer.status == 302
    row = "SELECT status, amount_due, amount_received, currency FROM clinic_payments_payment"
    found = target.database.execute(f"{row} WHERE public_id = %s", [str(payment.public_id)]).fetchall()
    assert found == [("checkout_open", payment.amount_due, 0, "eur")]
    session = location(answer).split("?")[0].rstrip("/").rpartition("/")[2]
    assert stripe_says(target, f"checkout/sessions/{session}")["amount_total"] == payment.amount_due


def stripe_says(target: Target, path: str) -> Any:
    key = {"Authorization": f"Bearer {target.site.settings['STRIPE_SECRET_KEY']}"}
    with urllib.request.urlopen(urllib.request.Request(f"{target.site.sandbox_url}/v1/{path}", headers=key)) as answer:
        return json.load(answer)


def test_forms_at_the_desk_change_only_what_they_are_for(target: Target) -> None:
    def standing() -> list[Any]:
        columns = "public_id, status, currency, amount_due, amount_received, amount_refunded"
        rows = f"SELECT {columns} FROM clinic_payments_payment"  # noqa: S608
        return target.database.execute(f"{rows} ORDER BY id").fetchall()

    before = standing()
    target.post(target.clerk, desk_page_of(target, 0) + "attendance/", form(**MODEL_FIELDS | {"status": "completed"}))
    target.post(
        target.clerk, desk_page_of(target, 0) + "take/", form(**MODEL_FIELDS | {"amount": "x", "method": "cash"})
    )
    assert standing() == before


SESSIONS = ["", "cs_test_unknown", "{CHECKOUT_SESSION_ID}", "x" * 5000, "'\"><script>alert(1)</script>", "%00", "OTHER",
            "../../v1/balance", "%F0%9F%92%A9", "%FF", "cs_live_" + "a" * 60]  # fmt: skip


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session[:20])
def test_a_return_with_a_session_that_is_not_its_own_shows_nothing(target: Target, session: str) -> None:
    story = target.clinic.story(1, 1)
    session = session if session.startswith("%") else quote(session)
    with target.unmoved():
        answers = [
            target.as_person(target.patient, "GET", payment_page(target, 0, f"return/?{query}")[:-1])
            for query in (f"session_id={session.replace('OTHER', f'cs_test_{story.tag}A')}", "")
        ]
    assert [answer.status for answer in answers] == [404, 404]
    assert "<script>alert" not in answers[0].text


def paid(target: Target, currency: str = "eur") -> str:
    """Pay a payment in `currency`, unless an earlier call has, and return the path of the payment's refund form."""
    story, reference = target.clinic.story(2, 2), target.clinic.patients[2].references[2]
    if currency in target.foreign:
        story, reference = target.foreign[currency]
    if currency not in target.paid:
        assert target.signed(story.succeeded()).status == 200
        target.paid.add(currency)
    return f"/desk/{reference}/refund/"


EUR_AMOUNTS = ["0", "0,00", "-1", "0,001", "1e9", "1e2", "١٠", "NaN", "inf", "", " ", "50,03", "999999999", "9" * 40,
               "1,5,0", "1.000,00", "0x10", "½", "５", "\0", "5\0", "<b>1</b>", "1;DROP"]  # fmt: skip
AMOUNTS = [
    *(("eur", amount) for amount in EUR_AMOUNTS),
    *(("jpy", amount) for amount in ("1,5", "0.5", "5001")),
    *(("kwd", amount) for amount in ("1,2345", "12,341")),
]


@pytest.mark.parametrize(("currency", "amount"), AMOUNTS)
def test_an_odd_amount_is_given_back_to_nobody(target: Target, currency: str, amount: str) -> None:
    path = paid(target, currency)
    with target.unmoved():
        sent = form(through="stripe", amount=amount, reason="duplicate", confirmed="1")
        answer = target.post(target.accountant, path, sent)
    assert answer.status == 422
    assert 'aria-invalid="true"' in answer.text


def test_odd_choices_in_a_refund_are_refused(target: Target) -> None:
    path = paid(target)
    with target.unmoved():
        for change in (
            {"through": "all"},
            {"through": "insurer"},
            {"through": "cash"},
            {"reason": "because"},
            {"through": ""},
            {"still_owed": "perhaps"},
            {"reason": "\0"},
            {"through": ["stripe", "x"]},
        ):
            fields = {"through": "stripe", "amount": "1", "reason": "duplicate", "confirmed": "1"} | change
            assert target.post(target.accountant, path, form(**fields)).status == 422, change


def test_what_was_not_paid_or_is_disputed_is_not_given_back(target: Target) -> None:
    story = target.clinic.story(2, 3)
    for event in (story.succeeded(), story.charged(), story.dispute("needs_response")):
        assert target.signed(event).status == 200
    with target.unmoved():
        for number in (3, 4):
            for amount in ("1", "50"):
                sent = form(through="stripe", amount=amount, reason="duplicate", confirmed="1")
                answer = target.post(target.accountant, desk_page_of(target, 2, number) + "refund/", sent)
                assert answer.status in (403, 409, 422)


MULTIPART = ("Content-Type", "multipart/form-data; boundary=x")
TOO_MUCH: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "1,001 fields": (form(**{f"f{n}": n for n in range(1001)}), []),
    "a field of 3 MB": (form(amount="5" * 3_000_000), []),
    "101 files": (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n' * 101 + b"--x--",
        [MULTIPART],
    ),
    "no end": (b'--x\r\nContent-Disposition: form-data; name="amount"', [MULTIPART]),
    "no boundary": (b"amount=5", [("Content-Type", "multipart/form-data")]),
    "unknown charset": (b"amount=5", [("Content-Type", f"{FORM}; charset=nope")]),
    "not UTF-8": (b"amount=%ff%fe&method=\xff", []),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_MUCH)
def test_a_form_that_is_too_much_or_broken_is_refused(target: Target, case: str) -> None:
    body, headers = TOO_MUCH[case]
    with target.unmoved():
        answer = target.post(target.clerk, desk_page_of(target, 0, 4) + "take/", body, headers)
    assert answer.status in (400, 413, 422) or case == "no end"  # without any field the form is shown again


HOSTILE = ["<script>alert(1)</script>", "{{7*191}}", "{% debug %}", '" onmouseover="alert(1)', "javascript:alert(1)",
           "\u202egnihton", "e" + "\u0301" * 120, "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)",
           "\ttab", "&lt;blink&gt;", "'; DROP TABLE x;--"]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: name[:16])
def test_a_name_is_text_everywhere(target: Target, name: str) -> None:
    change = "UPDATE clinic_accounts_user SET last_name = %s, first_name = '' WHERE id = %s"
    third, visit = target.clinic.patients[2], desk_page_of(target, 2, 5)
    target.database.execute(change, [name, third.id])
    service = "UPDATE clinic_appointments_appointment SET service = %s WHERE reference = %s"
    target.database.execute(service, [name[:120], third.references[5]])
    for person, path in (
        (target.clerk, "/desk/"),
        (target.clerk, visit),
        (third, page_of(target, 2, 5)),
        (third, "/appointments/"),
    ):
        answer = target.as_person(person, "GET", path)
        assert answer.status == 200
        for bad in ("<script>alert", 'onmouseover="alert', "<blink>", ">1337<"):
            assert bad not in answer.text
        assert not re.search(r'(?:href|action|src)="\s*javascript:', answer.text)
    search = target.as_person(target.clerk, "GET", f"/desk/?{urlencode({'q': name})}")
    assert search.status == 200
    assert "<script>alert" not in search.text
    lines = target.as_person(target.accountant, "GET", "/desk/export.csv").text.splitlines()
    assert not [cell for row in csv.reader(lines, delimiter=";") for cell in row if cell.startswith(FORMULA)]


SEARCHES = [
    "%00",
    "%FF%FE",
    "x" * 10_000,
    "%F0%9F%92%A9",
    "'; DROP TABLE clinic_payments_payment;--",
    "\\",
    "%25%25",
    "pi_%00",
]


@pytest.mark.parametrize("text", SEARCHES, ids=lambda text: text[:16])
@pytest.mark.parametrize("field", ["q", "day", "period", "practitioner", "status", "sort", "page"])
def test_nonsense_in_the_day_list_s_address_counts_as_not_given(target: Target, field: str, text: str) -> None:
    with target.unmoved():
        answer = target.as_person(target.clerk, "GET", f"/desk/?{field}={text.replace(' ', '+')}")
    assert answer.status == 200


ELSEWHERE = [
    "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "https:evil.example",
    "http://evil.example", "https://127.0.0.1@evil.example", "///evil.example", "\t//evil.example",
    "%0d%0aLocation:%20http://evil.example",
]  # fmt: skip


@pytest.mark.parametrize("page", ELSEWHERE)
def test_nobody_is_sent_elsewhere(target: Target, page: str) -> None:
    query = urlencode({"next": page})
    answers = [
        target.as_person(target.patient, "GET", f"{resolve_url(settings.LOGIN_URL)}?{query}"),
        target.post(target.patient, "/language/setlang/", form(language="en", next=page)),
    ]
    for answer in answers:
        assert answer.status == 302
        assert not any(urlsplit(location(answer))[:2]), location(answer)
        assert not location(answer).startswith(("/\\", "\\"))


def test_another_host_is_refused_and_a_forwarded_one_is_not_believed(target: Target) -> None:
    assert target.ask("GET", "/", host="evil.example").status == 400
    two = target.ask("GET", "/", headers=[("Host", target.site.url[7:]), ("Host", "evil.example")])
    assert two.status in (400, 302)
    assert "evil" not in f"{location(two)}{two.text}"
    for header in ("X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-URL", "X-Rewrite-URL"):
        value = "host=evil.example" if header == "Forwarded" else "evil.example"
        page = target.as_person(target.clerk, "GET", desk_page_of(target, 0) + "collect/", headers=[(header, value)])
        assert "evil" not in page.text


@pytest.mark.parametrize("method", ["TRACE", "FOO", "CONNECT", "PROPFIND"])
def test_a_method_that_no_browser_sends_shows_nothing(target: Target, method: str) -> None:
    for path in ("/appointments/", "/desk/", page_of(target, 0), "/payments/live/"):
        answer = target.as_person(target.patient, method, path, headers=[("X-Echo", "echoed")])
        assert answer.status in (400, 403, 405, 501)
        assert "echoed" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/static/../db.sqlite3", "/static/%2e%2e/manage.py", "/static/..%2fmanage.py", "/.git/config", "/.env", "/media/",
     "/static/", "/%00", "/appointments/%00/", "/payments/x/receipt/", "/p/a:b:c/", "/p/%00/", "/p/" + "x" * 4000 + "/",
     "/desk/..%2f..%2f/", "/__debug__/", "/admin/..%2f"],
)  # fmt: skip
def test_nothing_beside_the_pages_is_served(target: Target, path: str) -> None:
    for person in (target.clerk, Person("nobody", 0, "", [], [])):
        answer = target.as_person(person, "GET", path)
        assert answer.status in (404, 302, 400)
        if answer.status == 302:
            assert location(answer).startswith("/"), location(answer)


def error_pages(target: Target) -> dict[int, Answer]:
    return {
        400: target.post(target.clerk, desk_page_of(target, 0) + "take/", "&".join(["a=1"] * 201).encode()),
        413: target.post(target.clerk, desk_page_of(target, 0) + "take/", form(amount="5" * 300_000)),
        403: target.as_person(target.patient, "GET", "/desk/"),
        404: target.ask("GET", "/nowhere/at-all"),
        405: target.post(target.patient, "/appointments/", b""),
    }


def test_an_error_is_a_page_of_the_clinic_s_with_what_to_look_for_in_the_log(target: Target) -> None:
    for status, answer in error_pages(target).items():
        if status != 405:  # no browser shows the page of a 405
            assert answer.status == status
            assert 'href="/static/payments/css/pages.css"' in answer.text
            assert f"<code>{answer.headers['X-Request-ID']}</code>" in answer.text


def test_no_answer_can_be_framed_or_tells_what_it_runs_on(target: Target) -> None:
    pages = {200: target.as_person(target.patient, "GET", "/appointments/"), **error_pages(target)}
    for status, answer in pages.items():
        assert answer.status == status
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not answer.headers["Server"]
        for word in ("Django", "Python", "Twisted", "daphne", "Traceback", str(ROOT), "site-packages"):
            assert word not in answer.text
