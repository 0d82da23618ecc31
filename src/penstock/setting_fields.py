"""Every setting: its name, default, bounds, and what an operator should know about it.

The values come from `penstock.settings.load_settings`; the class itself reads neither the
environment nor files, so that a `Settings(…)` in a test holds exactly what the test says.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from penstock.setting_types import (
    EMPTY_IS_NONE,
    KNOWN_SURFACES,
    LOWER,
    Allowed,
    BaseUrl,
    ClaimNames,
    CredentialUrl,
    DatabaseUrl,
    Networks,
    Origins,
    PlainPath,
    Secret,
    SharedSecret,
    Surfaces,
    TrustedUrl,
)

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def _setting(default: Any, description: str, *, live: bool = False, **bounds: Any) -> Any:  # noqa: ANN401  stands for a field of any type, as pydantic's Field does
    return Field(default, description=description, json_schema_extra={"live": live}, **bounds)


class Settings(BaseSettings):
    """What one process runs with. Frozen: nothing changes under a running service."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, env_prefix="PENSTOCK_"
    )

    host: str = _setting(
        "127.0.0.1", "Address to listen on; 0.0.0.0 or :: for every interface.", min_length=1
    )
    port: int = _setting(8080, "TCP port to listen on; 0 takes any free one.", ge=0, le=65535)
    data_dir: PlainPath = _setting(
        Path("penstock-data"),
        "Folder of everything that outlives the process. One running service a folder.",
    )
    database_url: Annotated[DatabaseUrl | None, EMPTY_IS_NONE] = _setting(
        None, "The PostgreSQL database of the ledger. Without it the ledger is a file in data_dir."
    )
    surfaces: Surfaces = _setting(KNOWN_SURFACES, "The groups of routes that are served.")
    tls_cert: PlainPath | None = _setting(
        None, "PEM file of the certificate chain; with tls_key the service speaks TLS."
    )
    tls_key: PlainPath | None = _setting(None, "PEM file of the certificate's private key.")

    session_secret: Secret | None = _setting(
        None, "Signs and verifies session tokens. Required outside --dev."
    )
    session_secret_previous: Secret | None = _setting(
        None, "The session secret before the last rotation; its tokens are still accepted."
    )
    session_secret_overlap_seconds: float = _setting(
        7200.0,
        "How long after a rotation the previous session secret must be kept; no shorter than "
        "the longest life of a session token.",
        ge=0,
        le=30 * 86400,
    )
    user_jwt_secret: Secret | None = _setting(
        None,
        "Signs and verifies the JWTs of people (HS256). Required outside --dev, unless jwks_url is "
        "set; without it no HS256 token holds.",
    )
    service_jwt_secret: Secret | None = _setting(
        None, "Signs and verifies the JWTs of the service account. Required outside --dev."
    )
    jwt_issuer: str = _setting("penstock", "The issuer (iss) that JWTs must name.", min_length=1)
    jwt_audience: str = _setting(
        "penstock", "The audience (aud) that JWTs must name.", min_length=1
    )
    jwks_url: TrustedUrl | None = _setting(
        None,
        "The key set of the identity provider, whose ES256 and RS256 signatures on people's JWTs "
        "then hold: besides those of user_jwt_secret, or, without that, alone.",
    )
    jwks_floor_seconds: float = _setting(
        30.0, "The key set is fetched no more often than this.", ge=1, le=3600
    )
    jwks_keep_seconds: float = _setting(
        3600.0, "The key set is fetched anew when it is older.", ge=1, le=7 * 86400
    )
    token_cache_entries: int = _setting(
        65536,
        "Verified tokens kept by digest, and as many heads that carried them.",
        ge=1,
        le=10_000_000,
    )
    token_leeway_seconds: float = _setting(
        5.0, "How far ahead of this clock a token's iat may be.", ge=0, le=300
    )
    grants_file: PlainPath | None = _setting(
        None,
        "JSON file of consents and quotas, in the place of what Core says of them.",
    )

    core_api_url: BaseUrl | None = _setting(
        None,
        "Core's address, such as https://core.example. Without it, Core is embedded: this process "
        "keeps sessions, consents and figures itself.",
    )
    core_timeout_seconds: float = _setting(
        5.0, "How long Core may take for an answer.", ge=0.1, le=60
    )
    consent_ttl_seconds: float = _setting(
        60.0, "How long an answer of Core about a consent or a quota is used.", ge=0, le=3600
    )
    consent_stale_seconds: float = _setting(
        600.0,
        "How old such an answer may become while Core cannot be asked; then 503.",
        ge=0,
        le=86400,
    )
    consent_cache_entries: int = _setting(
        65536,
        "Consents remembered, and as many quotas; those asked for longest ago go first.",
        ge=1,
        le=10_000_000,
    )
    session_token_ttl_seconds: int = _setting(
        7200, "How long a session token of the embedded Core is valid.", ge=60, le=30 * 86400
    )
    replay_url_seconds: int = _setting(
        300, "How long a link to a replay is valid.", ge=1, le=7 * 86400
    )
    public_url: BaseUrl | None = _setting(
        None,
        "Where clients reach this service; links to replays begin with it. Without it they are "
        "paths of the same host.",
    )

    trusted_proxies: Networks = _setting(
        (),
        "Our own proxies. What X-Forwarded-For says is believed as far as they wrote it, and not "
        "at all from anybody else.",
    )
    actor_hash_secret: Secret | None = _setting(
        None,
        "Makes the names under which people are stored; without it, it follows from "
        "user_jwt_secret, and without that it is required.",
    )
    actor_hash_secret_previous: Secret | None = _setting(
        None,
        "The secret that made these names before (actor_hash_secret, or the user_jwt_secret that "
        "it followed from): erasures find what is kept under those names.",
    )
    actor_hash_days: int = _setting(
        30, "How long somebody keeps the same name of that kind.", ge=1, le=3650
    )
    maxmind_account_id: str | None = _setting(
        None, "The MaxMind account that databases and privacy exclusions come by.", min_length=1
    )
    maxmind_license_key: SharedSecret | None = _setting(
        None, "The licence key of the MaxMind account."
    )
    geo_update_url: CredentialUrl = _setting(
        "https://download.maxmind.com/geoip/databases/GeoLite2-City/download?suffix=tar.gz",
        "The geo database as .tar.gz; the same address with .sha256 behind it is its checksum.",
    )
    geo_update_days: int = _setting(
        7, "How often that database is downloaded by itself; 0 never.", ge=0, le=365
    )
    privacy_exclusions_url: CredentialUrl = _setting(
        "https://api.maxmind.com/privacy/exclusions", "The list of privacy exclusions."
    )
    privacy_sync_days: int = _setting(
        7, "How often that list is synced by itself; 0 never.", ge=0, le=365
    )
    platform_requests_per_second: float = _setting(
        10.0,
        "How often a person may call each of the routes for analytics and errors, sustained.",
        ge=0.01,
        le=10_000,
    )
    platform_burst: int = _setting(
        50, "How often a person may call such a route at once.", ge=1, le=10_000
    )
    retention_analytics_days: int = _setting(
        395, "How long events of analytics are kept; 0 for ever.", ge=0, le=36_500
    )
    retention_errors_days: int = _setting(
        90, "How long error reports and groups are kept; 0 for ever.", ge=0, le=36_500
    )
    retention_media_days: int = _setting(
        395,
        "How long media events are kept; statistics made of them stay. 0 for ever.",
        ge=0,
        le=36_500,
    )

    cors_origins: Origins = _setting(
        (), "Origins of browser apps that may call; '*' lets any origin."
    )
    cors_max_age_seconds: int = _setting(
        600, "How long browsers may keep the answer to a preflight.", ge=0, le=86400
    )
    rate_batches_per_second: float = _setting(
        1.25, "Batches a session may send, sustained.", ge=0.01, le=1000
    )
    rate_burst: int = _setting(5, "Batches a session may send at once.", ge=1, le=1000)

    max_connections: int = _setting(
        12_000,
        "Connections open at once; further ones are answered 503 and closed.",
        ge=1,
        le=1_000_000,
    )
    max_header_bytes: int = _setting(
        16 * KIB, "Size of a request's line and headers together.", ge=1 * KIB, le=1 * MIB
    )
    max_header_count: int = _setting(64, "Number of a request's headers.", ge=8, le=1000)
    request_timeout_seconds: float = _setting(
        10.0, "A whole request must have arrived within this time.", ge=0.1, le=600
    )
    idle_timeout_seconds: float = _setting(
        75.0, "A connection without a request is kept this long.", ge=0.1, le=3600
    )
    linger_seconds: float = _setting(
        1.0,
        "After an answer that closes the connection, reading goes on this long, so that the "
        "client gets the answer rather than a reset.",
        ge=0,
        le=60,
    )
    listen_backlog: int = _setting(
        1024, "Connections the kernel queues before they are accepted.", ge=1, le=65535
    )
    express_lane: bool = _setting(
        default=True,
        description="Answer hot HTTP/1.1 requests on the fast path, not through Hypercorn.",
    )

    max_live_sessions: int = _setting(
        20000, "Sessions with an actor in memory at once.", ge=1, le=1_000_000
    )
    max_resting_sessions: int = _setting(
        200_000, "Idle sessions remembered without an actor.", ge=1, le=10_000_000
    )
    session_rest_seconds: float = _setting(
        60.0, "A session without a batch for this long is laid to rest.", ge=1, le=86400
    )
    session_idle_seconds: float = _setting(
        300.0,
        "A session that has not been heard of for this long is closed as abandoned; its client's "
        "own end still takes the place of that.",
        ge=1,
        le=86400,
    )
    provisional_keep_seconds: float = _setting(
        86400.0,
        "How long the frames of a session closed so are kept beside their blob, so that it can "
        "go on; no shorter than the longest life of a session token.",
        ge=1,
        le=30 * 86400,
    )
    frame_memory_bytes: int = _setting(
        256 * MIB, "Bytes of waiting frames in the whole process.", ge=4 * MIB, le=1024 * GIB
    )

    spool_flush_seconds: float = _setting(
        1.0,
        "Frames are written to the spool after at most this time; a kill loses no more than it.",
        ge=0.01,
        le=60,
    )
    spool_flush_bytes: int = _setting(
        64 * KIB, "A session with this much unwritten is written sooner.", ge=1, le=64 * MIB
    )
    spool_queue_chunks: int = _setting(
        65536, "Chunks that wait for the writer.", ge=1, le=10_000_000
    )
    spool_open_files: int = _setting(
        16384,
        "Spool files kept open between writes; fewer while connections need the descriptors.",
        ge=1,
        le=1_000_000,
    )

    writer_queue_entries: int = _setting(
        1024,
        "Results that wait for the ledger; finals have this many places, all else as many.",
        ge=1,
        le=1_000_000,
    )
    ledger_wait_seconds: float = _setting(
        5.0, "A result that the ledger has not taken by then is answered 503.", ge=0.1, le=60
    )
    end_wait_seconds: float = _setting(
        10.0, "An end that is not done by then is answered 503, and goes on.", ge=0.1, le=60
    )
    outbox_max_attempts: int = _setting(
        60,
        "A final that could not be delivered so often is left to `penstock outbox retry`. The "
        "pauses grow to five minutes, so that the default is about four hours.",
        ge=1,
        le=100_000,
    )

    blob_url: str | None = _setting(
        None,
        "Where replays are stored: a folder, or s3://, gs:// or az:// with a bucket and a "
        "prefix; the default is the folder `blobs` of the data folder.",
        min_length=1,
    )
    blob_allow_http: bool = _setting(
        default=False, description="Let an object store's endpoint be without TLS off loopback."
    )
    blob_connect_seconds: float = _setting(
        5.0, "A connection to the object store must be there by then.", ge=0.1, le=60
    )
    blob_read_seconds: float = _setting(
        20.0, "The object store must have answered with a byte by then.", ge=0.1, le=600
    )
    blob_request_seconds: float = _setting(
        30.0, "A request to the object store, its repetitions included.", ge=0.1, le=3600
    )
    blob_total_seconds: float = _setting(
        120.0, "Storing one replay, everything included.", ge=0.1, le=86400
    )
    blob_retries: int = _setting(
        3, "How often a request to the object store is repeated.", ge=0, le=100
    )

    blob_max_age_seconds: float | None = _setting(
        None,
        "A replay older than this is removed. Without it, none is for its age.",
        ge=3600,
        le=100 * 365 * 86400,
    )
    blob_max_bytes: int | None = _setting(
        None,
        "The oldest replays are removed when all together are larger. Without it, none is.",
        ge=1 * MIB,
        le=1024 * 1024 * GIB,
    )
    finals_max_age_seconds: float | None = _setting(
        None,
        "A session's final is removed when it was delivered and is older than this; the embedded "
        "Core's figures stay. It needs blob_max_age_seconds, no longer than it.",
        ge=86400,
        le=100 * 365 * 86400,
    )
    audit_max_age_seconds: float | None = _setting(
        None,
        "An audit entry older than this is removed. Without it, none is.",
        ge=86400,
        le=100 * 365 * 86400,
    )

    usage_user_claims: ClaimNames = _setting(
        ("wallet", "wallet_address", "sub"),
        "The claims that may name the user of usage rollups; the first that a token has does.",
    )
    sync_batch_bytes: int = _setting(
        2 * MIB, "Size of a sync batch; clients split a larger one.", ge=64 * KIB, le=16 * MIB
    )
    sync_batch_records: int = _setting(
        5000, "Records of a sync batch; clients split a larger one.", ge=1, le=100_000
    )
    sync_batch_sums: int = _setting(
        10_000,
        "Sums that a sync batch changes, of all periods and groupings; clients split one of more.",
        ge=100,
        le=1_000_000,
    )

    ledger_journal_mode: Annotated[Literal["wal", "delete"], LOWER] = _setting(
        "wal",
        "SQLite's journal. With delete, which some shared volumes need, reads wait for commits.",
    )

    runs_auth_enabled: bool = _setting(
        default=False,
        description="Clients that report runs must send runs_auth_token. "
        "Also TELEMETRY_API_AUTH_ENABLED.",
    )
    runs_auth_token: SharedSecret | None = _setting(
        None, "The bearer token of all clients that report runs. Also TELEMETRY_API_AUTH_TOKEN."
    )
    runs_rate_limit_enabled: bool = _setting(
        default=False,
        description="Limit the requests about runs by the address that they come from. "
        "Also TELEMETRY_RATE_LIMIT_ENABLED.",
    )
    runs_rate_limit_rpm: int = _setting(
        60,
        "Requests about runs that an address may send within any minute. "
        "Also TELEMETRY_RATE_LIMIT_RPM.",
        ge=1,
        le=100_000,
    )
    runs_body_bytes: int = _setting(
        1 * MIB, "Size of a body that is about one run.", ge=1 * KIB, le=16 * MIB
    )
    runs_batch_body_bytes: int = _setting(
        4 * MIB, "Size of a batch of runs.", ge=1 * KIB, le=16 * MIB
    )
    runs_batch_length: int = _setting(1000, "Runs in a batch.", ge=1, le=100_000)
    runs_text_length: int = _setting(
        256 * KIB, "Characters in a text of a run.", ge=256, le=16 * MIB
    )

    console_visit_hours: float = _setting(
        8.0,
        "How long somebody stays signed in to the console; an idle hour, a sign-out, a restart and "
        "the token's own end come sooner.",
        ge=0.1,
        le=24,
    )
    console_streams: int = _setting(
        32, "Pages of the console that may be kept up live at once.", ge=0, le=1000
    )

    shutdown_notice_seconds: float = _setting(
        1.0,
        "At shutdown the service first says that it is not ready and goes on serving this long, "
        "so that load balancers notice.",
        ge=0,
        le=300,
    )
    shutdown_seconds: float = _setting(
        25.0, "Deadline of the whole shutdown, the notice included.", ge=0.1, le=3600
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], LOWER] = (
        _setting("info", "The least important messages that are logged.")
    )
    log_format: Annotated[Literal["auto", "json", "console"], LOWER] = _setting(
        "auto", "json for machines, console for people; auto is console on a terminal."
    )

    @classmethod
    def settings_customise_sources(  # noqa: D102  pydantic-settings' hook
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Where a value came from must be told, and unknown names refused; the stock sources
        # do neither, and read the process's environment where a test wants its own.
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        # `port = true` in a file would otherwise be port 1.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool:
            raise ValueError("is a truth value")
        return value


def allowed(name: str) -> str:
    """Say in words what a setting's value must be, such as "a whole number from 0 to 65535"."""
    field = Settings.model_fields[name]
    if words := _own_words(field):
        return words
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true or false"
    if field.annotation in (str, str | None):
        return "a text that is not empty"
    kind = "a whole number" if field.annotation is int else "a number"
    low = next(meta.ge for meta in field.metadata if isinstance(meta, Ge))
    high = next(meta.le for meta in field.metadata if isinstance(meta, Le))
    return f"{kind} from {low} to {high}"


def is_live(name: str) -> bool:
    """Say whether a change of the setting takes effect without a restart."""
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra["live"])


def _own_words(field: FieldInfo) -> str:
    inner = [meta for part in get_args(field.annotation) for meta in get_args(part)[1:]]
    return next((meta.words for meta in (*field.metadata, *inner) if isinstance(meta, Allowed)), "")


def _is_secret(field: FieldInfo) -> bool:
    # An optional kind keeps its `Annotated` inside the union.
    return any(SecretStr in get_args(part) for part in get_args(field.annotation))


SECRET_NAMES = tuple(name for name, field in Settings.model_fields.items() if _is_secret(field))
