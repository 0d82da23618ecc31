"""Whom a token speaks for."""

from enum import StrEnum


class Role(StrEnum):
    """Whom a user token can speak for."""

    PATIENT = "patient"
    SPECIALIST = "specialist"
    CLINIC_ADMIN = "clinic_admin"
    PLATFORM_ADMIN = "platform_admin"


# The role of a token with which one service calls another: nobody's person.
SERVICE_ROLE = "service_account"
