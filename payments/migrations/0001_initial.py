import django.db.models.deletion
import django.utils.timezone
import payments.domain.facts
import payments.models.installation
import payments.models.pay_link
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("clinic_appointments", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BackgroundJob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=40, unique=True, verbose_name="name")),
                ("holder", models.CharField(blank=True, max_length=80, verbose_name="process")),
                ("held_until", models.DateTimeField(blank=True, null=True, verbose_name="reserved until")),
                ("begun_at", models.DateTimeField(blank=True, null=True, verbose_name="last begun")),
                ("succeeded_at", models.DateTimeField(blank=True, null=True, verbose_name="last succeeded")),
                ("failed_at", models.DateTimeField(blank=True, null=True, verbose_name="last failed")),
                ("error", models.CharField(blank=True, max_length=200, verbose_name="last error")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="known since")),
            ],
            options={
                "verbose_name": "background job",
                "verbose_name_plural": "background jobs",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="BalanceLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_id", models.CharField(max_length=255, unique=True, verbose_name="balance transaction")),
                (
                    "source_id",
                    models.CharField(blank=True, db_index=True, max_length=255, verbose_name="Stripe object"),
                ),
                ("payout_id", models.CharField(blank=True, db_index=True, max_length=255, verbose_name="payout")),
            ],
            options={
                "verbose_name": "balance link",
                "verbose_name_plural": "balance links",
                "ordering": ("pk",),
                "permissions": (("view_transfers", "Can see what Stripe transfers to the bank"),),
            },
        ),
        migrations.CreateModel(
            name="Correspondent",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("language", models.CharField(max_length=7)),
            ],
            options={
                "verbose_name": "correspondent",
                "verbose_name_plural": "correspondents",
            },
        ),
        migrations.CreateModel(
            name="Cursor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run", models.CharField(max_length=40, unique=True, verbose_name="run")),
                ("position", models.PositiveBigIntegerField(default=0, verbose_name="position")),
                ("counts", models.JSONField(blank=True, default=dict, verbose_name="counts")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
            ],
            options={
                "verbose_name": "cursor",
                "verbose_name_plural": "cursors",
            },
        ),
        migrations.CreateModel(
            name="Feed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("audience", models.CharField(max_length=40, unique=True)),
                ("epoch", models.CharField(max_length=16)),
                ("head", models.PositiveBigIntegerField(default=0)),
                ("pruned", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "feed",
                "verbose_name_plural": "feeds",
            },
        ),
        migrations.CreateModel(
            name="FeedReader",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=20, unique=True)),
                ("seq", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "verbose_name": "feed reader",
                "verbose_name_plural": "feed readers",
            },
        ),
        migrations.CreateModel(
            name="QuarantinedObject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_id", models.CharField(max_length=255, unique=True)),
                ("reason", models.CharField(max_length=200, verbose_name="reason")),
                ("found_at", models.DateTimeField(auto_now_add=True, verbose_name="found")),
            ],
            options={
                "verbose_name": "quarantined object",
                "verbose_name_plural": "quarantined objects",
                "ordering": ("found_at",),
            },
        ),
        migrations.CreateModel(
            name="Closing",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False, verbose_name="number")),
                ("day", models.DateField(verbose_name="day")),
                ("sealed_at", models.DateTimeField(verbose_name="sealed")),
                ("content", models.JSONField(verbose_name="content")),
                ("formula", models.PositiveSmallIntegerField(verbose_name="formula")),
                (
                    "previous_hash",
                    models.CharField(blank=True, max_length=64, verbose_name="hash of the closing before"),
                ),
                ("hash", models.CharField(max_length=64, unique=True, verbose_name="hash")),
                (
                    "corrects",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
                        to="clinic_payments.closing",
                        verbose_name="corrects",
                    ),
                ),
                (
                    "sealed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="sealed by",
                    ),
                ),
            ],
            options={
                "verbose_name": "closing",
                "verbose_name_plural": "closings",
                "ordering": ("number",),
                "permissions": (("close_day", "Can close the day"),),
            },
        ),
        migrations.CreateModel(
            name="ClosingHead",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField(default=0, editable=False)),
                ("hash", models.CharField(blank=True, editable=False, max_length=64)),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_closing_head")],
            },
        ),
        migrations.CreateModel(
            name="Customer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(max_length=3)),
                ("stripe_customer_id", models.CharField(max_length=255, unique=True)),
                (
                    "patient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Fact",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "claimed_payment",
                    models.UUIDField(blank=True, null=True, verbose_name="payment named in the metadata"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            (payments.domain.facts.Kind["SESSION"], payments.domain.facts.Kind["SESSION"]),
                            (payments.domain.facts.Kind["INTENT"], payments.domain.facts.Kind["INTENT"]),
                            (payments.domain.facts.Kind["CHARGE"], payments.domain.facts.Kind["CHARGE"]),
                            (payments.domain.facts.Kind["REFUND"], payments.domain.facts.Kind["REFUND"]),
                            (payments.domain.facts.Kind["DISPUTE"], payments.domain.facts.Kind["DISPUTE"]),
                            (payments.domain.facts.Kind["OFFLINE"], payments.domain.facts.Kind["OFFLINE"]),
                            (payments.domain.facts.Kind["DESK_REFUND"], payments.domain.facts.Kind["DESK_REFUND"]),
                            (payments.domain.facts.Kind["REVERSAL"], payments.domain.facts.Kind["REVERSAL"]),
                            (payments.domain.facts.Kind["OBSERVATION"], payments.domain.facts.Kind["OBSERVATION"]),
                            (payments.domain.facts.Kind["SETUP_PAGE"], payments.domain.facts.Kind["SETUP_PAGE"]),
                            (payments.domain.facts.Kind["SETUP"], payments.domain.facts.Kind["SETUP"]),
                            (payments.domain.facts.Kind["CARD"], payments.domain.facts.Kind["CARD"]),
                            (payments.domain.facts.Kind["CONSENT"], payments.domain.facts.Kind["CONSENT"]),
                        ],
                        max_length=12,
                    ),
                ),
                ("stripe_id", models.CharField(max_length=255, unique=True)),
                ("status", models.CharField(max_length=40)),
                ("as_of", models.PositiveBigIntegerField()),
                ("created", models.PositiveBigIntegerField()),
                ("since", models.PositiveBigIntegerField(default=0)),
                ("amount", models.PositiveBigIntegerField()),
                ("amount_refunded", models.PositiveBigIntegerField(default=0)),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("livemode", models.BooleanField()),
                ("payment_intent_id", models.CharField(blank=True, max_length=255)),
                ("charge_id", models.CharField(blank=True, max_length=255)),
                ("attempt", models.CharField(blank=True, max_length=40)),
                ("details", models.JSONField(blank=True, default=dict)),
                ("recorded_at", models.DateTimeField(auto_now_add=True)),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "closing",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="clinic_payments.closing",
                    ),
                ),
            ],
            options={
                "verbose_name": "fact",
                "verbose_name_plural": "facts",
                "ordering": ("created", "pk"),
            },
        ),
        migrations.CreateModel(
            name="Installation",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("site_id", models.UUIDField(default=uuid.uuid4, editable=False, verbose_name="site id")),
                (
                    "epoch",
                    models.CharField(
                        default=payments.models.installation.new_epoch,
                        editable=False,
                        max_length=16,
                        verbose_name="epoch",
                    ),
                ),
                (
                    "emails_sent_until",
                    models.DateTimeField(editable=False, null=True, verbose_name="e-mails sent until"),
                ),
            ],
            options={
                "verbose_name": "installation",
                "verbose_name_plural": "installations",
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_installation")],
            },
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("amount_due", models.PositiveBigIntegerField(verbose_name="due")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("earlier_prices", models.JSONField(blank=True, default=list)),
                ("booking", models.JSONField(blank=True, default=dict)),
                ("checkouts", models.JSONField(blank=True, default=list)),
                ("slot_lost", models.BooleanField(default=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("unpaid", "To pay"),
                            ("checkout_open", "Payment started"),
                            ("processing", "Processing"),
                            ("paid", "Paid"),
                            ("underpaid", "Partly paid"),
                            ("failed", "Payment failed"),
                            ("expired", "Payment expired"),
                            ("void", "Nothing to pay"),
                            ("refund_pending", "Refund on its way"),
                            ("partially_refunded", "Partly refunded"),
                            ("refunded", "Refunded"),
                            ("disputed", "Disputed"),
                            ("charged_back", "Taken back by the bank"),
                        ],
                        default="unpaid",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("amount_received", models.PositiveBigIntegerField(default=0, verbose_name="received")),
                ("amount_refunded", models.PositiveBigIntegerField(default=0, verbose_name="refunded")),
                ("amount_refund_pending", models.PositiveBigIntegerField(default=0, verbose_name="refund pending")),
                ("amount_lost", models.PositiveBigIntegerField(default=0, verbose_name="lost to disputes")),
                ("amount_waived", models.PositiveBigIntegerField(default=0, verbose_name="waived")),
                ("amount_on_its_way", models.PositiveBigIntegerField(default=0, verbose_name="on its way")),
                ("amount_owed", models.PositiveBigIntegerField(default=0, verbose_name="still owed")),
                ("amount_overpaid", models.PositiveBigIntegerField(default=0, verbose_name="overpaid")),
                ("payable", models.BooleanField(default=True, verbose_name="payable online")),
                ("attempt", models.CharField(blank=True, max_length=20)),
                ("failure_code", models.CharField(blank=True, max_length=80, verbose_name="failure code")),
                ("method", models.CharField(blank=True, max_length=40, verbose_name="payment method")),
                ("dispute_due_by", models.PositiveBigIntegerField(blank=True, null=True)),
                ("reviews", models.JSONField(blank=True, default=list, verbose_name="to review")),
                (
                    "card",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "No card kept"),
                            ("kept", "Card kept"),
                            ("removed", "Card removed"),
                            ("failed", "Card not kept"),
                        ],
                        max_length=8,
                        verbose_name="card",
                    ),
                ),
                ("card_brand", models.CharField(blank=True, max_length=20, verbose_name="card brand")),
                ("card_last4", models.CharField(blank=True, max_length=4, verbose_name="last digits of the card")),
                ("card_limit", models.PositiveBigIntegerField(default=0, verbose_name="may be charged to the card")),
                ("version", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "appointment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment",
                        to="clinic_appointments.appointment",
                        verbose_name="appointment",
                    ),
                ),
            ],
            options={
                "verbose_name": "payment",
                "verbose_name_plural": "payments",
                "ordering": ("-created_at",),
                "permissions": (
                    ("refund_payment", "Can refund up to the front desk's limit"),
                    ("refund_any_amount", "Can refund any amount"),
                    ("export_payments", "Can download payments"),
                    ("view_operations", "Can see the operations board"),
                ),
            },
        ),
        migrations.CreateModel(
            name="PayLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("desk", "QR code"),
                            ("email", "E-mail"),
                            ("sms", "Text message"),
                            ("api", "Other software"),
                        ],
                        max_length=5,
                    ),
                ),
                ("nonce", models.CharField(default=payments.models.pay_link.new_nonce, editable=False, max_length=32)),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("version", models.PositiveIntegerField()),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="made")),
                (
                    "expires_at",
                    models.DateTimeField(default=payments.models.pay_link.in_two_weeks, verbose_name="expires"),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True, verbose_name="sent")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "ended_because",
                    models.CharField(
                        blank=True,
                        choices=[("staff", "Ended"), ("replaced", "Replaced"), ("over", "Over")],
                        max_length=8,
                    ),
                ),
                (
                    "ended_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "patient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="pay_links",
                        to="clinic_payments.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "pay link",
                "verbose_name_plural": "pay links",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="OnlineEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("payment", "Payment"),
                            ("refund", "Refund"),
                            ("desk_refund", "Given back at the desk"),
                            ("reversal", "Entered by mistake"),
                            ("taken_back", "Taken back by the bank"),
                            ("reinstated", "Returned by the bank"),
                        ],
                        max_length=12,
                    ),
                ),
                ("amount", models.BigIntegerField()),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("at", models.PositiveBigIntegerField()),
                ("method", models.CharField(blank=True, max_length=40)),
                ("stripe_id", models.CharField(max_length=255)),
                (
                    "closing",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="online_entries",
                        to="clinic_payments.closing",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="clinic_payments.payment"
                    ),
                ),
            ],
            options={
                "verbose_name": "movement at Stripe in a closing",
                "verbose_name_plural": "movements at Stripe in closings",
                "ordering": ("pk",),
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.CharField(max_length=1000, verbose_name="note")),
                ("key", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="notes", to="clinic_payments.payment"
                    ),
                ),
            ],
            options={
                "verbose_name": "note",
                "verbose_name_plural": "notes",
                "ordering": ("created_at", "pk"),
            },
        ),
        migrations.CreateModel(
            name="JournalLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("payment", "Payment"),
                            ("refund", "Refund"),
                            ("desk_refund", "Given back at the desk"),
                            ("reversal", "Entered by mistake"),
                            ("taken_back", "Taken back by the bank"),
                            ("reinstated", "Returned by the bank"),
                        ],
                        max_length=12,
                    ),
                ),
                ("amount", models.BigIntegerField()),
                ("currency", models.CharField(blank=True, max_length=3)),
                ("at", models.PositiveBigIntegerField()),
                ("method", models.CharField(blank=True, max_length=40)),
                ("number", models.PositiveSmallIntegerField()),
                ("is_open", models.BooleanField(default=True)),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "fact",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="clinic_payments.fact",
                        to_field="stripe_id",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="journal_lines",
                        to="clinic_payments.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "journal line",
                "verbose_name_plural": "journal lines",
                "ordering": ("payment", "number"),
            },
        ),
        migrations.AddField(
            model_name="fact",
            name="payment",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="facts",
                to="clinic_payments.payment",
            ),
        ),
        migrations.CreateModel(
            name="EventReceipt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_event_id", models.CharField(max_length=255, unique=True)),
                ("type", models.CharField(max_length=250)),
                ("livemode", models.BooleanField()),
                ("stripe_created", models.PositiveBigIntegerField(verbose_name="created at Stripe")),
                ("object_id", models.CharField(blank=True, max_length=255)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("applied", "Applied"),
                            ("no_change", "Nothing new"),
                            ("deferred", "Waiting for its payment"),
                            ("ignored_type", "Type not used"),
                            ("ignored_foreign", "From another site"),
                            ("rejected_livemode", "Wrong mode (live or test)"),
                            ("quarantined", "Not understood"),
                            ("failed", "Failed"),
                            ("dead", "Given up"),
                        ],
                        default="received",
                        max_length=20,
                    ),
                ),
                ("detail", models.CharField(blank=True, max_length=200)),
                ("deliveries", models.PositiveIntegerField(default=0)),
                ("received_at", models.DateTimeField(auto_now_add=True)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("event_stored_at", models.DateTimeField(blank=True, null=True, verbose_name="stored by dj-stripe")),
                ("mirrored_at", models.DateTimeField(blank=True, null=True, verbose_name="copied by dj-stripe")),
                (
                    "payment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="receipts",
                        to="clinic_payments.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "event receipt",
                "verbose_name_plural": "event receipts",
                "ordering": ("-received_at",),
                "permissions": (("replay_event", "Can apply an event again"),),
            },
        ),
        migrations.CreateModel(
            name="RecordView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="when")),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="views", to="clinic_payments.payment"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="who",
                    ),
                ),
            ],
            options={
                "verbose_name": "record view",
                "verbose_name_plural": "record views",
                "ordering": ("-at",),
            },
        ),
        migrations.CreateModel(
            name="StatusChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                (
                    "from_status",
                    models.CharField(
                        choices=[
                            ("unpaid", "To pay"),
                            ("checkout_open", "Payment started"),
                            ("processing", "Processing"),
                            ("paid", "Paid"),
                            ("underpaid", "Partly paid"),
                            ("failed", "Payment failed"),
                            ("expired", "Payment expired"),
                            ("void", "Nothing to pay"),
                            ("refund_pending", "Refund on its way"),
                            ("partially_refunded", "Partly refunded"),
                            ("refunded", "Refunded"),
                            ("disputed", "Disputed"),
                            ("charged_back", "Taken back by the bank"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "to_status",
                    models.CharField(
                        choices=[
                            ("unpaid", "To pay"),
                            ("checkout_open", "Payment started"),
                            ("processing", "Processing"),
                            ("paid", "Paid"),
                            ("underpaid", "Partly paid"),
                            ("failed", "Payment failed"),
                            ("expired", "Payment expired"),
                            ("void", "Nothing to pay"),
                            ("refund_pending", "Refund on its way"),
                            ("partially_refunded", "Partly refunded"),
                            ("refunded", "Refunded"),
                            ("disputed", "Disputed"),
                            ("charged_back", "Taken back by the bank"),
                        ],
                        max_length=20,
                    ),
                ),
                ("standing", models.JSONField()),
                ("booking", models.JSONField(blank=True, default=dict)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("webhook", "Stripe"),
                            ("return_page", "Return from Checkout"),
                            ("checkout", "Checkout"),
                            ("refund", "Refund"),
                            ("desk", "Front desk"),
                            ("appointment", "Appointment"),
                            ("reconcile", "Checked with Stripe"),
                            ("replay", "Event applied again"),
                            ("catch_up", "Missed event fetched"),
                            ("sweep", "Automatic check"),
                        ],
                        max_length=12,
                    ),
                ),
                ("stripe_event_id", models.CharField(blank=True, max_length=255)),
                ("occurred_at", models.DateTimeField(blank=True, null=True, verbose_name="happened at Stripe")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="clinic_payments.payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "status change",
                "verbose_name_plural": "status changes",
                "ordering": ("payment", "version"),
            },
        ),
        migrations.CreateModel(
            name="FeedEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveBigIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("pushed_at", models.DateTimeField(blank=True, null=True)),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
                (
                    "feed",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="entries", to="clinic_payments.feed"
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="clinic_payments.payment"
                    ),
                ),
                (
                    "change",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="clinic_payments.statuschange",
                    ),
                ),
            ],
            options={
                "verbose_name": "feed entry",
                "verbose_name_plural": "feed entries",
                "ordering": ("feed", "seq"),
            },
        ),
        migrations.CreateModel(
            name="Email",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("start", models.DateTimeField(blank=True, null=True)),
                ("number", models.PositiveIntegerField(default=0)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("receipt", "Receipt"),
                            ("refund", "Refund"),
                            ("debit_failed", "Direct debit failed"),
                            ("taken_back", "Taken back by the bank"),
                            ("pay_link", "Pay link"),
                            ("reminder", "Reminder"),
                        ],
                        max_length=20,
                    ),
                ),
                ("amount", models.PositiveBigIntegerField(verbose_name="amount")),
                ("tries", models.PositiveIntegerField(default=0, verbose_name="tries")),
                ("try_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="next try")),
                ("error", models.CharField(blank=True, max_length=80, verbose_name="error")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(blank=True, null=True, verbose_name="sent")),
                ("given_up_at", models.DateTimeField(blank=True, null=True, verbose_name="given up")),
                (
                    "pay_link",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="emails",
                        to="clinic_payments.paylink",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="emails",
                        to="clinic_payments.payment",
                        verbose_name="payment",
                    ),
                ),
                (
                    "change",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="email",
                        to="clinic_payments.statuschange",
                    ),
                ),
            ],
            options={
                "verbose_name": "e-mail",
                "verbose_name_plural": "e-mails",
                "ordering": ("-pk",),
            },
        ),
        migrations.AddConstraint(
            model_name="closing",
            constraint=models.UniqueConstraint(
                condition=models.Q(("corrects", None)), fields=("day",), name="one_closing_per_day"
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.UniqueConstraint(fields=("patient", "currency"), name="one_customer_per_currency"),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["status", "updated_at"], name="payment_status_updated"),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("reviews", []), _negated=True), fields=["updated_at"], name="payment_to_review"
            ),
        ),
        migrations.AddConstraint(
            model_name="paylink",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at", None)), fields=("payment", "channel"), name="one_pay_link_per_channel"
            ),
        ),
        migrations.AddIndex(
            model_name="journalline",
            index=models.Index(fields=["at", "payment", "number"], name="journal_by_date"),
        ),
        migrations.AddIndex(
            model_name="journalline",
            index=models.Index(condition=models.Q(("is_open", True)), fields=["payment"], name="journal_open"),
        ),
        migrations.AddConstraint(
            model_name="journalline",
            constraint=models.UniqueConstraint(fields=("payment", "number"), name="one_journal_line_per_number"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(condition=models.Q(("payment", None)), fields=["claimed_payment"], name="fact_waiting"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(
                condition=models.Q(("payment_intent_id__gt", "")), fields=["payment_intent_id"], name="fact_intent"
            ),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(condition=models.Q(("charge_id__gt", "")), fields=["charge_id"], name="fact_charge"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(condition=models.Q(("closing__isnull", False)), fields=["closing"], name="fact_closing"),
        ),
        migrations.AddIndex(
            model_name="fact",
            index=models.Index(
                condition=models.Q(
                    ("closing", None),
                    (
                        "kind__in",
                        (
                            payments.domain.facts.Kind["OFFLINE"],
                            payments.domain.facts.Kind["DESK_REFUND"],
                            payments.domain.facts.Kind["REVERSAL"],
                        ),
                    ),
                ),
                fields=["created"],
                name="fact_open_entry",
            ),
        ),
        migrations.AddIndex(
            model_name="eventreceipt",
            index=models.Index(fields=["outcome", "received_at"], name="receipt_outcome_received"),
        ),
        migrations.AddIndex(
            model_name="eventreceipt",
            index=models.Index(condition=models.Q(("object_id__gt", "")), fields=["object_id"], name="receipt_object"),
        ),
        migrations.AddIndex(
            model_name="eventreceipt",
            index=models.Index(
                condition=models.Q(("event_stored_at", None), ("object_id__gt", "")),
                fields=["id"],
                name="receipt_unstored",
            ),
        ),
        migrations.AddIndex(
            model_name="recordview",
            index=models.Index(fields=["payment", "user", "at"], name="view_payment_user_at"),
        ),
        migrations.AddConstraint(
            model_name="statuschange",
            constraint=models.UniqueConstraint(fields=("payment", "version"), name="one_change_per_version"),
        ),
        migrations.AddConstraint(
            model_name="feedentry",
            constraint=models.UniqueConstraint(fields=("feed", "seq"), name="one_entry_per_number"),
        ),
        migrations.AddConstraint(
            model_name="feedentry",
            constraint=models.UniqueConstraint(fields=("feed", "change"), name="one_entry_per_change"),
        ),
        migrations.AddIndex(
            model_name="email",
            index=models.Index(
                condition=models.Q(("given_up_at", None), ("sent_at", None)), fields=["try_at"], name="email_due"
            ),
        ),
        migrations.AddConstraint(
            model_name="email",
            constraint=models.UniqueConstraint(
                condition=models.Q(("change", None)),
                fields=("kind", "payment", "start", "number"),
                name="one_email_per_kind_and_start",
            ),
        ),
        migrations.AddConstraint(
            model_name="email",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("change", None), ("pay_link__isnull", False), ("start__isnull", False)),
                    models.Q(("change__isnull", False), ("pay_link", None), ("start", None)),
                    _connector="OR",
                ),
                name="email_reports_or_asks",
            ),
        ),
    ]
