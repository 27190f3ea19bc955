"""Decides to which addresses webhooks may be sent, so that nobody reaches the clinic's own network through this site.

A host name is judged by the addresses that it resolves to. All of them have to be allowed, and the connection then goes
to one of these addresses, so that a name server can't answer otherwise when the connection is made.
"""

import ipaddress
from urllib.parse import urlsplit

import httpx
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ..conf import app_settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Networks that aren't public, from https://www.iana.org/assignments/iana-ipv4-special-registry and its counterpart for
# IPv6. They are listed here because the answers of `ipaddress` depend on Python's release.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and where clouds tell their machines' secrets
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
        "2001::/23",  # protocols, among them Teredo, which wraps IPv4 addresses
        "2001:db8::/32",
        "2002::/16",  # 6to4, which wraps IPv4 addresses
        "3fff::/20",
    )
]
GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")  # all others are loopback, private, link-local, multicast or unassigned
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedAddressError(Exception):
    """Raised when webhooks must not be sent to an address."""


def unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for: IPv4-mapped, or behind the well-known NAT64 prefix."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.version == 4 or address in GLOBAL_IPV6


def require_allowed(texts: list[str], *, encrypted: bool) -> None:
    """Raise RefusedAddressError unless webhooks may be sent to all of these addresses, and there is at least one.

    Addresses in the setting CLINIC_OUTGOING_WEBHOOK_NETWORKS are allowed, others only if they are public and the
    connection is `encrypted`.
    """
    for text in texts:
        address = unwrap(ipaddress.ip_address(text))
        if any(address in ipaddress.ip_network(network) for network in app_settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS):
            continue
        if not encrypted or not is_public(address):
            raise RefusedAddressError
    if not texts:
        raise RefusedAddressError


def check_url(value: str) -> None:
    """Raise ValidationError if `value` is no URL to which webhooks can be sent.

    Plain HTTP is accepted only where the setting CLINIC_OUTGOING_WEBHOOK_NETWORKS allows networks. Addresses are judged
    when a message is sent, because a host name may lead elsewhere then.
    """
    try:
        parts = urlsplit(value)
        well_formed = bool(httpx.URL(value).host) and parts.port != 0 and not (parts.username or parts.password)
    except (ValueError, httpx.InvalidURL):
        well_formed = False
    if not well_formed or not value.isascii() or any(character.isspace() for character in value):
        raise ValidationError(_("Enter a URL such as https://example.com/webhooks, without a user name."))
    if parts.fragment:
        raise ValidationError(_("Remove the part after #, which is not sent."))
    if parts.scheme != "https" and not (parts.scheme == "http" and app_settings.CLINIC_OUTGOING_WEBHOOK_NETWORKS):
        raise ValidationError(_("The URL has to begin with https://."))
