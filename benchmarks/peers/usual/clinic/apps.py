from django.apps import AppConfig


class ClinicConfig(AppConfig):
    name = "benchmarks.peers.usual.clinic"
    label = "clinic"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import receivers  # noqa: F401
