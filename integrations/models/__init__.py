from .import_file import ImportFile as ImportFile
