"""dj-stripe's migrations, and one more that replaces them all in a database that has none of its tables.

dj-stripe's own migrations create hundreds of columns and remove them again, which takes minutes. The setting
MIGRATION_MODULES names this package: {"djstripe": "payments.gateway.djstripe_migrations"}. A database in which some of
them are applied continues with dj-stripe's own, because Django then leaves the replacing migration out.
"""

from djstripe import migrations

__path__ = [*__path__, *migrations.__path__]
