import datetime
import json
import sys
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.management.base import CommandError, CommandParser, no_translations
from django.utils import timezone

from payments.conf import app_settings
from payments.doctor import CHECKS, examine, worst
from payments.doctor.finding import Finding, Level
from payments.emails import outbox
from payments.management.base import USAGE, OperatorCommand, parse_time
from payments.models import BackgroundJob, Feed

NOT_SENT = 3  # exit status when the mail server did not take the findings
STYLES = {Level.OK: "SUCCESS", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}


class Command(OperatorCommand):
    help = (
        "Check every link between Stripe and an open page, and say how to repair it: settings, Stripe's side, clock,"
        " database, events, refunds, feeds, channel layer, webhook, forms and socket. Changes nothing without"
        " --after-restore. Exit status 0: all is well, 1: warnings, 2: errors. docs/troubleshooting.md explains each"
        " check."
    )
    requires_system_checks = []  # the check "configuration" runs them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"run only these of {', '.join(CHECKS)}")
        parser.add_argument("--json", action="store_true", help="print a JSON array of {name, level, what, fix}")
        parser.add_argument("--mail", action="store_true", help="send what isn't well to OPERATOR_EMAIL")
        restored = "check nothing, but prepare a restored backup: make open pages load again, send no e-mail twice"
        parser.add_argument("--after-restore", action="store_true", help=restored)
        until = "with --after-restore: when the site last sent e-mails, e.g. '2026-05-31 14:00' (now)"
        parser.add_argument("--sent-until", type=parse_time, metavar="TIME", help=until)
        parser.add_argument("--yes", action="store_true", help="with --after-restore: don't ask about e-mails")

    @no_translations
    def handle(self, *args: Any, checks: list[str], **options: Any) -> None:
        if options["after_restore"]:
            self.prepare_restored(options["sent_until"] or timezone.now(), sure=options["yes"])
            return
        if options["sent_until"]:
            raise CommandError("--sent-until belongs to --after-restore.", returncode=USAGE)
        if unknown := set(checks) - CHECKS.keys():
            known = ", ".join(CHECKS)
            raise CommandError(f"No check {', '.join(sorted(unknown))}; there are {known}.", returncode=USAGE)
        chosen = {name: check for name, check in CHECKS.items() if name in checks} if checks else CHECKS
        findings = []
        for finding in examine(chosen):
            findings.append(finding)
            if not options["json"]:
                self.print_finding(finding)
        if options["json"]:
            rows = [finding._asdict() | {"level": finding.level.name.lower()} for finding in findings]
            self.stdout.write(json.dumps(rows, indent=1, ensure_ascii=False))
        if options["mail"]:
            self.mail([finding for finding in findings if finding.level != Level.OK])
        if level := worst(findings):
            sys.exit(level)

    def mail(self, findings: list[Finding]) -> None:
        """Send these findings to OPERATOR_EMAIL; none are not sent. Raises CommandError if the mail server fails."""
        if not app_settings.CLINIC_OPERATOR_EMAIL or settings.EMAIL_BACKEND.endswith(".dummy.EmailBackend"):
            raise CommandError("To send the findings, set OPERATOR_EMAIL and EMAIL_URL.", returncode=NOT_SENT)
        if not findings:
            return
        site = app_settings.CLINIC_SITE_URL.split("//")[-1]
        subject = f"{site}: the doctor found {', '.join(finding.name for finding in findings)}"
        text = "\n\n".join(map(_in_the_letter, findings))
        try:
            EmailMessage(subject, f"{text}\n", to=[app_settings.CLINIC_OPERATOR_EMAIL]).send()
        except OSError as error:  # also what smtplib raises
            raise CommandError(f"The findings could not be sent ({error}).", returncode=NOT_SENT) from error

    def prepare_restored(self, sent_until: datetime.datetime, *, sure: bool) -> None:
        """After a restored backup, make all open pages load again, and ask whether e-mails may be marked as sent.

        These are the e-mails about what happened until `sent_until`: they were sent before the restore. If the operator
        agrees or `sure` is true, they are never sent again.
        """
        if sent_until > timezone.now():
            raise CommandError(f"--sent-until {sent_until} is in the future.", returncode=USAGE)
        Feed.objects.begin_epoch()
        BackgroundJob.objects.forget_rounds()
        self.say("Pages that were opened before the restore will load again.")
        until = f"{timezone.localtime(sent_until):%Y-%m-%d %H:%M %Z}"
        self.say(
            f"{outbox.waiting(sent_until).count()} e-mails wait in this backup, and catch_up will find more changes."
            f" The e-mails about what happened until {until} were sent before the restore, unless the mail server was"
            " down."
        )
        if sure or self.agreed("Mark them as sent, so that no patient gets one twice?"):
            outbox.forget_until(sent_until)
            self.say("They will not be sent again. Now run catch_up and reconcile, before the site is started.")
        else:
            self.say("They will be sent, with the Message-IDs of the first time.")

    def print_finding(self, finding: Finding) -> None:
        level = getattr(self.style, STYLES[finding.level])(f"{finding.level.name.lower():8}")
        self.say(f"{level} {finding.name}: {finding.what}")
        if finding.fix:
            self.say(f"         -> {finding.fix}")


def _in_the_letter(finding: Finding) -> str:
    told = f"{finding.level.name} {finding.name}: {finding.what}"
    return f"{told}\n-> {finding.fix}" if finding.fix else told
