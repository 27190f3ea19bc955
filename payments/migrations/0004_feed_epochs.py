import payments.models.installation
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('clinic_payments', '0003_drop_checkout_attempts'),
    ]

    operations = [
        migrations.AddField(
            model_name='installation',
            name='epoch',
            field=models.CharField(default=payments.models.installation.new_epoch, editable=False, max_length=16, verbose_name='epoch'),
        ),
        migrations.AddField(
            model_name='feed',
            name='epoch',
            field=models.CharField(default='', max_length=16),
            preserve_default=False,
        ),
    ]
