"""The texts of the hosted page, in English and French; the sandbox has no other language."""

TEXTS: dict[str, tuple[str, str]] = {
    # key: (English, French)
    "pay_to": ("Pay {name}", "Payer {name}"),
    "keep_title": ("Save your card with {name}", "Enregistrer votre carte auprès de {name}"),
    "keep_nothing": ("Nothing is charged now.", "Rien n’est débité maintenant."),
    "keep": ("Save card", "Enregistrer la carte"),
    "test_mode": ("Test mode", "Mode test"),
    "no_real_money": (
        "This is stripe_sandbox: no real payments.",
        "Ceci est stripe_sandbox : aucun paiement réel.",
    ),
    "quantity": ("Qty {count}, {each} each", "Qté {count}, {each} l’unité"),
    "total": ("Total due", "Total à payer"),
    "contact": ("Contact information", "Coordonnées"),
    "email": ("Email", "E-mail"),
    "payment_method": ("Payment method", "Moyen de paiement"),
    "card": ("Card", "Carte"),
    "sepa_debit": ("SEPA Direct Debit", "Prélèvement SEPA"),
    "card_information": ("Card information", "Informations de la carte"),
    "card_number": ("Card number", "Numéro de carte"),
    "exp": ("Expiration (MM / YY)", "Expiration (MM / AA)"),
    "exp_hint": ("MM / YY", "MM / AA"),
    "cvc": ("Security code (CVC)", "Code de sécurité (CVC)"),
    "name": ("Full name", "Nom et prénom"),
    "iban": ("IBAN", "IBAN"),
    "mandate": (
        "By paying, you authorise {name} and Stripe to debit your account. The bank takes up to 14 days to confirm.",
        "En payant, vous autorisez {name} et Stripe à débiter votre compte. La banque confirme sous 14 jours au plus.",
    ),
    "pay": ("Pay {amount}", "Payer {amount}"),
    "complete_order": ("Complete order", "Confirmer la commande"),
    "cancel": ("Back to {name}", "Retour à {name}"),
    "test_cards": ("Test numbers", "Numéros de test"),
    "test_hint": (
        "Click a number to use it, with any future date and any 3 digits.",
        "Cliquez sur un numéro pour l’utiliser, avec une date future et 3 chiffres au choix.",
    ),
    "outcome_paid": ("Paid", "Payé"),
    "outcome_declined": ("Declined", "Refusée"),
    "outcome_funds": ("Insufficient funds", "Provision insuffisante"),
    "outcome_3ds": ("Asks for 3-D Secure", "Demande 3-D Secure"),
    "outcome_setup": ("Asks for 3-D Secure now, not later", "Demande 3-D Secure maintenant, pas plus tard"),
    "outcome_later": ("Can be saved, later payments are declined", "Enregistrable, paiements refusés ensuite"),
    "outcome_dispute": ("Paid, then disputed", "Payé, puis contesté"),
    "outcome_refund_pending": ("Paid; its refund stays pending", "Payé ; son remboursement reste en attente"),
    "outcome_refund_fails": ("Paid; its refund fails later", "Payé ; son remboursement échoue plus tard"),
    "outcome_sepa_ok": ("Debit succeeds after a moment", "Le prélèvement réussit peu après"),
    "outcome_sepa_slow": ("Stays processing for 3 minutes", "Reste en cours 3 minutes"),
    "outcome_sepa_fails": ("Debit fails after a moment", "Le prélèvement échoue peu après"),
    "outcome_sepa_returned": ("Debit succeeds, then is returned", "Le prélèvement réussit, puis est rejeté"),
    "secure_title": ("3-D Secure test page", "Page de test 3-D Secure"),
    "secure_text": (
        "Your bank asks you to confirm a payment of {amount} to {name}. Choose the answer of the bank here.",
        "Votre banque vous demande de confirmer un paiement de {amount} à {name}. "
        "Choisissez ici la réponse de la banque.",
    ),
    "secure_keep": (
        "Your bank asks you to confirm that {name} keeps your card. Choose the answer of the bank here.",
        "Votre banque vous demande de confirmer que {name} garde votre carte. Choisissez ici la réponse de la banque.",
    ),
    "secure_complete": ("Confirm the payment", "Confirmer le paiement"),
    "secure_fail": ("Refuse the payment", "Refuser le paiement"),
    "instructions": ("How to pay {name}", "Comment payer {name}"),
    "entity": ("Entity", "Entité"),
    "reference": ("Reference", "Référence"),
    "amount": ("Amount", "Montant"),
    "complete_title": ("This payment is complete", "Ce paiement est terminé"),
    "complete_text": (
        "This checkout session is complete. You can close this page.",
        "Cette session de paiement est terminée. Vous pouvez fermer cette page.",
    ),
    "expired_title": ("This payment page has expired", "Cette page de paiement a expiré"),
    "expired_text": (
        "Go back to {name} and start the payment again.",
        "Retournez à {name} et recommencez le paiement.",
    ),
    "missing_title": ("Page not found", "Page introuvable"),
    "missing_text": ("There is nothing at this address.", "Il n’y a rien à cette adresse."),
    "receipt": ("Receipt from {name}", "Reçu de {name}"),
    "paid_on": ("Paid on", "Payé le"),
    "paid_amount": ("Amount paid", "Montant payé"),
    "refunded": ("Refunded", "Remboursé"),
    "continue": ("Continue to {name}", "Continuer vers {name}"),
    "required": ("Fill in this field.", "Remplissez ce champ."),
    "invalid_email": ("This email address is not valid.", "Cette adresse e-mail n’est pas valide."),
    "incomplete_number": ("The card number is incomplete.", "Le numéro de carte est incomplet."),
    "incomplete_exp": ("The expiration date is incomplete.", "La date d’expiration est incomplète."),
    "invalid_iban": ("This IBAN is not valid.", "Cet IBAN n’est pas valide."),
    "incomplete_cvc": ("The security code is incomplete.", "Le code de sécurité est incomplet."),
    "expired_date": ("This card has expired.", "Cette carte a expiré."),
    "incorrect_number": ("This card number is not valid.", "Ce numéro de carte n’est pas valide."),
    "card_declined": (
        "Your card was declined. Try another card.",
        "Votre carte a été refusée. Essayez une autre carte.",
    ),
    "insufficient_funds": (
        "Your card has insufficient funds. Try another card.",
        "Votre carte n’a pas de provision suffisante. Essayez une autre carte.",
    ),
    "expired_card": ("Your card has expired. Try another card.", "Votre carte a expiré. Essayez une autre carte."),
    "incorrect_cvc": ("The security code is incorrect.", "Le code de sécurité est incorrect."),
    "processing_error": (
        "An error occurred while processing your card. Try again in a moment.",
        "Une erreur est survenue pendant le traitement de votre carte. Réessayez dans un instant.",
    ),
    "test_mode_live_card": (
        "Your card was declined: test mode accepts test cards only.",
        "Votre carte a été refusée : le mode test n’accepte que des cartes de test.",
    ),
    "setup_intent_authentication_failure": (
        "Your bank did not confirm the card. Try again or use another card.",
        "Votre banque n’a pas confirmé la carte. Réessayez ou utilisez une autre carte.",
    ),
    "payment_intent_authentication_failure": (
        "Your bank did not confirm the payment. Try again or use another card.",
        "Votre banque n’a pas confirmé le paiement. Réessayez ou utilisez une autre carte.",
    ),
}


def pick_language(locale: str | None, accept: str) -> str:
    """Return "fr" or "en", as the session's `locale` says; "en" for other languages.

    If `locale` is None or "auto", the Accept-Language header `accept` decides.
    """
    wanted = [locale] if locale and locale != "auto" else [part.split(";")[0].strip() for part in accept.split(",")]
    for language in wanted:
        if language[:2].lower() in ("fr", "en"):
            return language[:2].lower()
    return "en"


def text(language: str, key: str, **values: object) -> str:
    return TEXTS[key][language == "fr"].format(**values)
