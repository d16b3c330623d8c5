"""What AWS and its SDK refuse with, in the words of the walls; matched on codes, never on texts.

Imported only when a store is opened.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import botocore.exceptions as sdk  # noqa: TID253  # see above

from rotator.plugin import ConfigError, RotatorError, StoreDenied, StoreUnavailable

DENIED: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"}
)
LOGIN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
        "the session token has expired: log in again, or give rotator a role that renews itself",
    ),
    **dict.fromkeys(
        ("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"),
        "the clock of this host is more than five minutes wrong: mend it",
    ),
    **dict.fromkeys(
        ("InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature"),
        "the secret access key is not that of the access key id, or the clock of this host is wrong",
    ),
    **dict.fromkeys(
        (
            *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"),
            *("InvalidToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
            *("AuthFailure", "OptInRequired"),
        ),
        "the access key does not exist (any more), or belongs to another partition: log in again",
    ),
    **dict.fromkeys(
        ("InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"),
        "the role does not trust this web identity: see its trust policy and the token's iss, aud, sub",
    ),
}
_BUSY: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded"),
        *("TooManyRequestsException", "RequestThrottled", "RequestThrottledException"),
        *("SlowDown", "BandwidthLimitExceeded", "PriorRequestNotComplete"),
    }
)
_QUOTA: Final = frozenset({"LimitExceededException", "LimitExceeded"})
_KEY: Final = frozenset({"DecryptionFailure", "EncryptionFailure", "KMSAccessDeniedException"})
_NO_LOGIN: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.MetadataRetrievalError,
    sdk.ProfileNotFound,
    sdk.ConfigParseError,
    sdk.ConfigNotFound,
    sdk.InvalidConfigError,
    sdk.UnknownCredentialError,
    sdk.SSOError,
    sdk.TokenRetrievalError,
    sdk.NoAuthTokenError,
    sdk.InfiniteLoopConfigError,
    sdk.InvalidIMDSEndpointError,
)


class Refused(Exception):
    """An answer that the caller expects and knows what to do with: its code, and all of it."""

    def __init__(self, code: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.answer = answer or {}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of AWS, for messages: the place, the action with its service, and the resource."""

    place: str
    action: str
    resource: str

    @property
    def what(self) -> str:
        """The action and its resource in words."""
        return f"{self.action} on {self.resource}" if self.resource else self.action


def code_of(error: sdk.ClientError) -> str:
    """Return the code that AWS refused with."""
    return str(error.response.get("Error", {}).get("Code", ""))


def refused(error: sdk.ClientError, asked: Asked) -> RotatorError:
    """Return what an error that AWS answered with means. AWS's text is left out: it may quote the request."""
    code = code_of(error)
    metadata = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0) or 0)
    headers = metadata.get("HTTPHeaders", {})
    if code in DENIED:
        return StoreDenied(
            f"{asked.place} does not allow {asked.what}",
            hint=_permission(asked),
        )
    if code in LOGIN:
        return StoreDenied(f"{asked.place} does not take the login ({code})", hint=LOGIN[code])
    if code in _BUSY or status == 429:
        return StoreUnavailable(
            f"{asked.place} is asked too often ({code or status}, {asked.what})",
            hint="it is tried again; see who else calls it at this rate",
            retry_after=_retry_after(headers),
        )
    if code in _QUOTA:
        return StoreUnavailable(
            f"a quota of {asked.place} is used up ({asked.what})",
            hint="AWS keeps about 100 versions of a secret for 24 hours at least, and 500,000 secrets "
            "in a region: see what writes so often, or raise the quota",
            lasting=True,
        )
    if code in _KEY or code.startswith("KMS."):
        return StoreDenied(
            f"{asked.place} cannot use the KMS key of {asked.resource} ({code})",
            hint="enable the key, and allow this identity kms:Decrypt and kms:GenerateDataKey with it",
        )
    if status >= 500 or code in ("InternalServiceError", "InternalFailure", "ServiceUnavailable"):
        return StoreUnavailable(
            f"{asked.place} failed ({code or status}, {asked.what})",
            hint="it is tried again",
            retry_after=_retry_after(headers),
        )
    # Not an answer of AWS, or one to a question that it does not take: asking again is no use now.
    return StoreUnavailable(
        f"{asked.place} refused {asked.what} ({code or status})",
        hint="see what answers at its address, and CloudTrail for the whole refusal",
        lasting=True,
    )


def _permission(asked: Asked) -> str:
    if asked.action.startswith("sts:"):
        return (
            f"allow this identity {asked.action}, and let the role's trust policy name the identity"
        )
    return f"allow {asked.action} there: `rotator policy` prints what the role rotator takes"


def _retry_after(headers: Mapping[str, Any]) -> float | None:
    said = str(headers.get("retry-after", ""))
    return float(said) if said.isdigit() else None


def unanswered(error: sdk.BotoCoreError, asked: Asked) -> RotatorError:
    """Return what it means when the SDK got no answer, or did not ask."""
    if isinstance(error, _NO_LOGIN):
        return StoreDenied(
            f"there are no AWS credentials for {asked.place} ({type(error).__name__})",
            hint="`aws sts get-caller-identity` as the same user shows what the SDK finds: environment, "
            "profile, web identity, container or instance role",
        )
    if isinstance(error, sdk.SSLError):
        return _no_trust(error, asked)
    if isinstance(error, (sdk.HTTPClientError, sdk.ConnectionError)):
        late = isinstance(error, (sdk.ConnectTimeoutError, sdk.ReadTimeoutError))
        return StoreUnavailable(
            f"{asked.place} {'did not answer in time' if late else 'cannot be reached'} "
            f"({asked.action}, {type(error).__name__})",
            hint="it is tried again; see its address, the way there, and any proxy",
        )
    # ParamValidationError and its like quote what was to be sent, so no text is passed on.
    return ConfigError(
        f"the AWS SDK did not send {asked.what} ({type(error).__name__})",
        hint="see region, endpoint_url and the names of this store",
    )


def no_login(error: OSError | RuntimeError, asked: Asked) -> StoreDenied:
    """Return what it means when the SDK could not read a file of the login, or fetched one that is over."""
    if isinstance(error, OSError):
        return StoreDenied(
            f"the AWS SDK cannot read {error.filename or 'a file'} to log in to {asked.place}: "
            f"{(error.strerror or type(error).__name__).lower()}",
            hint="see what AWS_WEB_IDENTITY_TOKEN_FILE and the files of ~/.aws name",
        )
    return StoreDenied(
        f"the credentials fetched for {asked.place} have expired already",
        hint="see the clock of this host, and what gives the credentials",
    )


def _no_trust(error: sdk.SSLError, asked: Asked) -> StoreUnavailable:
    found: object = error.kwargs.get("error")
    while isinstance(found, BaseException) and not isinstance(found, ssl.SSLError):
        found = found.args[0] if found.args else None
    if isinstance(found, ssl.SSLCertVerificationError):
        return StoreUnavailable(
            f"the certificate of {asked.place} does not hold: {found.verify_message}",
            hint="name its CA by ca_file or AWS_CA_BUNDLE; or something stands in between",
            lasting=True,
        )
    return StoreUnavailable(
        f"no TLS with {asked.place} ({asked.action})",
        hint="it is tried again; see its address and any proxy",
    )


def unreadable(asked: Asked) -> StoreUnavailable:
    """Return the error for an answer that is none of AWS's, such as the page of a proxy."""
    return StoreUnavailable(
        f"what {asked.place} answered to {asked.what} is not what AWS answers",
        hint="it is tried again; see what answers at its address: a proxy, a captive portal?",
    )
