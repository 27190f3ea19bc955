"""Static files as production serves them: names with a hash of the content, and a compressed copy of each file."""

from django.contrib.staticfiles.storage import HashedFilesMixin
from servestatic.storage import CompressedManifestStaticFilesStorage

_, IMPORTS = HashedFilesMixin._js_module_import_aggregation_patterns  # type: ignore[attr-defined]


class HashedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Django's storage of hashed names, with gzip. Imports in this site's modules name the hashed files too.

    Django's own switch for imports covers every script, and some packages' scripts import what isn't there.
    """

    patterns = (*HashedFilesMixin.patterns, ("payments/js/*.js", IMPORTS))
