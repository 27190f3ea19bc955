import django.db.models.deletion
import django.utils.timezone
import integrations.models.api_key
import integrations.models.import_file
import integrations.outgoing.addresses
import integrations.outgoing.event_types
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("clinic_appointments", "0001_initial"),
        ("clinic_payments", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="WebhookEndpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "url",
                    models.CharField(
                        max_length=500, validators=[integrations.outgoing.addresses.check_url], verbose_name="URL"
                    ),
                ),
                ("description", models.CharField(blank=True, max_length=200, verbose_name="description")),
                (
                    "event_types",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="None chosen: all.",
                        validators=[integrations.outgoing.event_types.check_event_types],
                        verbose_name="event types",
                    ),
                ),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("secret", models.TextField(editable=False)),
                ("old_secret", models.TextField(blank=True, editable=False)),
                (
                    "old_secret_until",
                    models.DateTimeField(editable=False, null=True, verbose_name="old secret valid until"),
                ),
                ("seq", models.PositiveBigIntegerField(editable=False, verbose_name="told until number")),
                ("epoch", models.CharField(editable=False, max_length=16)),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, editable=False, verbose_name="failed tries in a row"),
                ),
                ("failing_since", models.DateTimeField(editable=False, null=True, verbose_name="failing since")),
                ("paused_until", models.DateTimeField(editable=False, null=True, verbose_name="paused until")),
                ("disabled_at", models.DateTimeField(editable=False, null=True, verbose_name="disabled")),
                (
                    "disabled_because",
                    models.CharField(
                        choices=[("failing", "No success for three days"), ("gone", "The receiver answered 410: gone")],
                        editable=False,
                        max_length=8,
                        verbose_name="disabled because",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
            ],
            options={
                "verbose_name": "webhook endpoint",
                "verbose_name_plural": "webhook endpoints",
                "ordering": ("pk",),
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        help_text="Which software uses the key.", max_length=80, unique=True, verbose_name="name"
                    ),
                ),
                (
                    "prefix",
                    models.CharField(
                        default=integrations.models.api_key.new_prefix,
                        editable=False,
                        max_length=8,
                        unique=True,
                        verbose_name="public part",
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("may_read", models.BooleanField(default=True, verbose_name="may read")),
                ("may_book", models.BooleanField(default=False, verbose_name="may enter patients and appointments")),
                (
                    "may_take_money",
                    models.BooleanField(default=False, verbose_name="may take money and make pay links"),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                ("revoked_at", models.DateTimeField(blank=True, editable=False, null=True, verbose_name="revoked")),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True, verbose_name="last used")),
                (
                    "made_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="made"),
                ),
                (
                    "acts_as",
                    models.ForeignKey(
                        help_text="History and journal name this member of staff for all that the software does. Make an account for the software, without a password, so that they name the software.",
                        limit_choices_to={"is_active": True, "is_staff": True},
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="acts as",
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="ApiUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("method", models.CharField(max_length=8, verbose_name="method")),
                ("route", models.CharField(max_length=120, verbose_name="route")),
                ("status", models.PositiveSmallIntegerField(verbose_name="status")),
                ("request_id", models.CharField(max_length=64, verbose_name="request id")),
                ("at", models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name="when")),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="uses",
                        to="clinic_integrations.apikey",
                        verbose_name="API key",
                    ),
                ),
            ],
            options={
                "verbose_name": "use of an API key",
                "verbose_name_plural": "uses of API keys",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="ImportFile",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "token",
                    models.CharField(default=integrations.models.import_file.new_token, max_length=32, unique=True),
                ),
                ("content", models.BinaryField()),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="WebhookMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("webhook_id", models.CharField(max_length=80, verbose_name="id")),
                ("type", models.CharField(max_length=40, verbose_name="event type")),
                ("body", models.TextField(verbose_name="content")),
                ("tries", models.PositiveIntegerField(default=0, verbose_name="tries")),
                ("try_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="next try")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="created")),
                ("delivered_at", models.DateTimeField(blank=True, null=True, verbose_name="delivered")),
                ("given_up_at", models.DateTimeField(blank=True, null=True, verbose_name="given up")),
                (
                    "change",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="clinic_payments.statuschange",
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="clinic_integrations.webhookendpoint",
                        verbose_name="webhook endpoint",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="clinic_payments.payment",
                        verbose_name="payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook message",
                "verbose_name_plural": "webhook messages",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="WebhookAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="time")),
                ("status", models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="HTTP status")),
                (
                    "failure",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("refused_address", "Address not allowed"),
                            ("name", "Host name not found"),
                            ("connection", "No connection"),
                            ("timeout", "No complete answer in time"),
                            ("protocol", "Answer is no HTTP"),
                            ("secret", "Secret can’t be decrypted"),
                        ],
                        max_length=16,
                        verbose_name="failure",
                    ),
                ),
                ("milliseconds", models.PositiveIntegerField(verbose_name="milliseconds")),
                ("answer", models.TextField(blank=True, verbose_name="answer")),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attempts",
                        to="clinic_integrations.webhookmessage",
                        verbose_name="webhook message",
                    ),
                ),
            ],
            options={
                "verbose_name": "webhook attempt",
                "verbose_name_plural": "webhook attempts",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="CalendarLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("names", models.BooleanField(default=False)),
                ("made_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "ended_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "patient",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "practitioner",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="clinic_appointments.practitioner",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("patient", None), ("practitioner", None), _connector="XOR"),
                        name="calendar_of_one_person",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)), fields=("patient",), name="one_calendar_per_patient"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)),
                        fields=("practitioner",),
                        name="one_calendar_per_practitioner",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StoredAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("fingerprint", models.CharField(max_length=64)),
                ("effect", models.UUIDField(default=uuid.uuid4)),
                ("started_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
                ("answer", models.BinaryField(null=True)),
                (
                    "api_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="clinic_integrations.apikey"
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("api_key", "name"), name="one_answer_per_idempotency_key")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="webhookmessage",
            index=models.Index(
                condition=models.Q(("delivered_at", None), ("given_up_at", None)),
                fields=["endpoint", "payment", "change"],
                name="webhook_message_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="webhookmessage",
            constraint=models.UniqueConstraint(
                fields=("endpoint", "change"), name="one_message_per_endpoint_and_change"
            ),
        ),
    ]
