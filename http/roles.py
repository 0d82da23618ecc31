"""Whom a person's token speaks for."""

from enum import StrEnum


class Role(StrEnum):
    """Whom a user token can speak for."""

    PATIENT = "patient"
    SPECIALIST = "specialist"
    CLINIC_ADMIN = "clinic_admin"
    PLATFORM_ADMIN = "platform_admin"
