import django.db.models.deletion
import django.utils.timezone
import integrations.outgoing.addresses
import integrations.outgoing.event_types
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("clinic_payments", "0001_initial"),
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
