import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser, no_translations

from payments.doctor import CHECKS, examine, worst
from payments.doctor.finding import Finding, Level
from payments.management.base import USAGE, OperatorCommand

STYLES = {Level.OK: "SUCCESS", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}


class Command(OperatorCommand):
    help = (
        "Check every link between Stripe and an open page, and say how to repair it: settings, Stripe's side, clock,"
        " database, events, refunds, feeds, channel layer, webhook and socket. Changes nothing."
        " Exit status 0: all is well, 1: warnings, 2: errors. docs/troubleshooting.md explains each check."
    )
    requires_system_checks = []  # the check "configuration" runs them

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"run only these of {', '.join(CHECKS)}")
        parser.add_argument("--json", action="store_true", help="print a JSON array of {name, level, what, fix}")

    @no_translations
    def handle(self, *args: Any, checks: list[str], **options: Any) -> None:
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
        if level := worst(findings):
            sys.exit(level)

    def print_finding(self, finding: Finding) -> None:
        level = getattr(self.style, STYLES[finding.level])(f"{finding.level.name.lower():8}")
        self.say(f"{level} {finding.name}: {finding.what}")
        if finding.fix:
            self.say(f"         -> {finding.fix}")
