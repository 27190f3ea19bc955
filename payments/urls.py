from django.urls import path, re_path

from . import webhooks
from .views import attendance, checkout, doctor, health, live, money, operations, patients, pay_link, review, staff

urlpatterns = [
    path("", patients.home, name="home"),
    path("appointments/", patients.appointment_list, name="appointments"),
    path("appointments/<slug:reference>/", patients.appointment_detail, name="appointment"),
    path("appointments/<slug:reference>/calendar.ics", patients.appointment_calendar, name="appointment_calendar"),
    path("review/", review.review_queue, name="review_queue"),
    path("desk/", staff.day_list, name="desk"),
    path("desk/export.csv", staff.export, name="desk_export"),
    path("desk/why/", doctor.why, name="why"),
    path("desk/operations/", operations.board, name="operations"),
    path("desk/<slug:reference>/", staff.appointment_detail, name="desk_appointment"),
    path("desk/<slug:reference>/why/", doctor.why_payment, name="why_payment"),
    path("desk/<slug:reference>/attendance/", attendance.set_attendance, name="set_attendance"),
    path("desk/<slug:reference>/cancel/", attendance.cancel_appointment, name="cancel_appointment"),
    path("desk/<slug:reference>/take/", money.take_payment, name="take_payment"),
    path("desk/<slug:reference>/refund/", money.refund_payment, name="refund_payment"),
    path("desk/<slug:reference>/collect/", pay_link.collect, name="collect"),
    path("p/<str:token>/", pay_link.pay_link, name="pay_link"),
    path("p/<str:token>/pay/", pay_link.pay_by_link, name="pay_by_link"),
    path("p/<str:token>/confirm/", pay_link.confirm_by_link, name="confirm_by_link"),
    path("payments/<uuid:public_id>/pay/", checkout.pay, name="pay"),
    path("payments/<uuid:public_id>/return/", checkout.checkout_return, name="checkout_return"),
    path("payments/<uuid:public_id>/confirm/", checkout.confirm, name="confirm_payment"),
    path("payments/<uuid:public_id>/receipt/", money.receipt, name="receipt"),
    path("payments/live/", live.payments_live, name="payments_live"),
    path("components/", live.components, name="components"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    # With and without the last slash: Stripe counts a redirect as a failed delivery.
    re_path(r"^stripe/webhook/?$", webhooks.stripe_webhook, name="stripe_webhook"),
    path("stripe/webhook/<uuid:djstripe_uuid>", webhooks.stripe_webhook),
    path("stripe/webhook/<uuid:djstripe_uuid>/", webhooks.stripe_webhook, name="stripe_webhook_endpoint"),
]
