import django.db.models.deletion
import django.utils.timezone
import integrations.models.api_key
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
    ]
