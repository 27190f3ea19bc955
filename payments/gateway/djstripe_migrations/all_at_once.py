"""Creates dj-stripe's tables directly from its models. It replaces all migrations of the installed dj-stripe.

tests/test_migrations.py compares the tables with those that dj-stripe's own migrations make.
"""

import pkgutil
from importlib import import_module
from typing import Any

from django.apps import apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from djstripe import migrations as history

from . import __name__ as package


class CreateTables(Operation):
    """Create the tables of all models of the app, in one operation, so that Django renders the models only once."""

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        state.__dict__.pop("apps", None)  # else Django renders each model when it is added, before those that it names
        for model in apps.get_app_config(app_label).get_models():
            state.add_model(ModelState.from_model(model))

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for model in self._models(app_label, schema_editor, to_state):
            schema_editor.create_model(model)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for model in self._models(app_label, schema_editor, from_state):
            schema_editor.delete_model(model)

    def _models(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState) -> list[Any]:
        models = state.apps.get_app_config(app_label).get_models()
        return [model for model in models if self.allow_migrate_model(schema_editor.connection.alias, model)]

    def describe(self) -> str:
        return "Create all tables"


NAMES = sorted(module.name for module in pkgutil.iter_modules(history.__path__))
HISTORY = [import_module(f"{package}.{name}").Migration for name in NAMES]


class Migration(migrations.Migration):
    initial = True
    replaces = [("djstripe", name) for name in NAMES]
    dependencies = [needed for each in HISTORY for needed in each.dependencies if needed[0] != "djstripe"]
    operations = [CreateTables()]
