import appointments.models
import django.core.validators
import django.db.models.deletion
import people.external_ids
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Practitioner",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120, verbose_name="name")),
                ("specialty", models.CharField(max_length=120, verbose_name="specialty")),
                (
                    "professional_number",
                    models.CharField(
                        blank=True,
                        help_text="As receipts show it, such as “RPPS 10000000000” or “GMC 0000000”.",
                        max_length=60,
                        verbose_name="professional number",
                    ),
                ),
                ("active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "external_id",
                    people.external_ids.ExternalIdField(
                        blank=True, max_length=64, null=True, unique=True, verbose_name="external id"
                    ),
                ),
            ],
            options={
                "verbose_name": "practitioner",
                "verbose_name_plural": "practitioners",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Service",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=120, unique=True, verbose_name="name")),
                (
                    "minutes",
                    models.PositiveSmallIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(5),
                            django.core.validators.MaxValueValidator(480),
                        ],
                        verbose_name="length in minutes",
                    ),
                ),
                ("price_amount", models.PositiveIntegerField(verbose_name="price")),
                (
                    "deposit_amount",
                    models.PositiveIntegerField(
                        default=0, help_text="What the patient pays first; 0 for no deposit.", verbose_name="deposit"
                    ),
                ),
                (
                    "prepayment",
                    models.CharField(
                        choices=[
                            ("nothing", "Nothing"),
                            ("deposit", "Deposit"),
                            ("price", "Whole price"),
                            ("card", "Card kept for a no-show fee"),
                        ],
                        default="nothing",
                        max_length=8,
                        verbose_name="asked for in advance",
                    ),
                ),
                (
                    "no_show_fee_amount",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="The most that may be charged to a kept card; 0 to keep no card.",
                        verbose_name="no-show fee",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        choices=[
                            ("eur", "EUR"),
                            ("chf", "CHF"),
                            ("gbp", "GBP"),
                            ("usd", "USD"),
                            ("jpy", "JPY"),
                            ("kwd", "KWD"),
                        ],
                        default="eur",
                        max_length=3,
                        verbose_name="currency",
                    ),
                ),
                (
                    "active",
                    models.BooleanField(
                        default=True, help_text="Only active services can be booked.", verbose_name="active"
                    ),
                ),
            ],
            options={
                "verbose_name": "service",
                "verbose_name_plural": "services",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Appointment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "reference",
                    models.CharField(
                        default=appointments.models.new_reference,
                        editable=False,
                        max_length=8,
                        unique=True,
                        verbose_name="reference",
                    ),
                ),
                ("service", models.CharField(max_length=120, verbose_name="service")),
                ("start", models.DateTimeField(db_index=True, verbose_name="start")),
                ("end", models.DateTimeField(verbose_name="end")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("booked", "Booked"),
                            ("completed", "Attended"),
                            ("canceled", "Cancelled"),
                            ("no_show", "No-show"),
                        ],
                        default="booked",
                        max_length=12,
                        verbose_name="attendance",
                    ),
                ),
                ("price_amount", models.PositiveIntegerField(verbose_name="price")),
                (
                    "deposit_amount",
                    models.PositiveIntegerField(
                        default=0, help_text="What the patient pays first; 0 for no deposit.", verbose_name="deposit"
                    ),
                ),
                (
                    "fee_amount",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="What the clinic keeps after a cancellation.",
                        verbose_name="cancellation fee",
                    ),
                ),
                (
                    "prepayment",
                    models.CharField(
                        choices=[
                            ("nothing", "Nothing"),
                            ("deposit", "Deposit"),
                            ("price", "Whole price"),
                            ("card", "Card kept for a no-show fee"),
                        ],
                        default="nothing",
                        max_length=8,
                        verbose_name="asked for in advance",
                    ),
                ),
                (
                    "no_show_fee_amount",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="The most that may be charged to a kept card; 0 to keep no card.",
                        verbose_name="no-show fee",
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        choices=[
                            ("eur", "EUR"),
                            ("chf", "CHF"),
                            ("gbp", "GBP"),
                            ("usd", "USD"),
                            ("jpy", "JPY"),
                            ("kwd", "KWD"),
                        ],
                        default="eur",
                        max_length=3,
                        verbose_name="currency",
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("arrived_at", models.DateTimeField(blank=True, editable=False, null=True, verbose_name="arrived")),
                (
                    "external_id",
                    people.external_ids.ExternalIdField(
                        blank=True, max_length=64, null=True, unique=True, verbose_name="external id"
                    ),
                ),
                (
                    "patient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="appointments",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="patient",
                    ),
                ),
                (
                    "practitioner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="appointments",
                        to="clinic_appointments.practitioner",
                        verbose_name="practitioner",
                    ),
                ),
            ],
            options={
                "verbose_name": "appointment",
                "verbose_name_plural": "appointments",
                "ordering": ("start", "pk"),
                "permissions": (("import_appointment", "Can import appointments from a file"),),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("end__gt", models.F("start"))), name="appointment_ends_after_start"
                    )
                ],
            },
        ),
    ]
