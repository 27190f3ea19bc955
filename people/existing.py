"""Operations for a migration of a project whose user table has rows before its model inherits PatientFields."""

import uuid
from typing import Any

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

BATCH_SIZE = 500  # rows that are written by one statement


def public_ids(label: str) -> list[Operation]:
    """Return the operations that add `public_id` to the user model with this label, such as "accounts.User".

    Each user gets another id. The operation that `makemigrations` writes would give all of them one, which is refused
    because the field is unique.
    """
    model = label.partition(".")[2]

    def fill(apps: Any, schema_editor: Any) -> None:
        users = apps.get_model(label)._base_manager.using(schema_editor.connection.alias)
        found = list(users.filter(public_id=None).only("pk"))
        for user in found:
            user.public_id = uuid.uuid4()
        users.bulk_update(found, ["public_id"], batch_size=BATCH_SIZE)

    return [
        migrations.AddField(model, "public_id", models.UUIDField(null=True, editable=False)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField(model, "public_id", models.UUIDField(unique=True, default=uuid.uuid4, editable=False)),
    ]
