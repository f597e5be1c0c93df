"""Verifying webhooks: with the vector that Standard Webhooks' own libraries are tested with."""

from __future__ import annotations

import pytest

import ember
from ember.exception import WebhookError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
SENT_S = 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "Webhook-Timestamp": str(SENT_S),
    "Webhook-Signature": SIGNATURE,
}


def verify(body: bytes | str = BODY, secret: str = SECRET, at_s: float = SENT_S, **more: str):
    headers = {**HEADERS, **{name.replace("_", "-"): value for name, value in more.items()}}
    return ember.webhook.verify(headers, body, secret, now_s=at_s)


def test_a_webhook_is_read_whatever_the_case_of_its_headers() -> None:
    assert verify() == {"test": 2432232314}
    assert verify(BODY.decode()) == {"test": 2432232314}
    lower = {name.lower(): value for name, value in HEADERS.items()}
    assert ember.webhook.verify(lower, BODY, SECRET, now_s=SENT_S + 299)["test"] == 2432232314


def test_one_of_several_signatures_has_to_fit() -> None:
    other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert verify(Webhook_Signature=f"{other} v1a,x {SIGNATURE}")
    for signatures in (other, SIGNATURE.replace("v1,", "v2,"), "v1", "v1,", "garbage", "v1,é"):
        with pytest.raises(WebhookError, match="no signature"):
            verify(Webhook_Signature=signatures)


def test_what_was_changed_on_its_way_is_refused() -> None:
    with pytest.raises(WebhookError):
        verify(BODY + b" ")
    with pytest.raises(WebhookError):
        verify(Webhook_Id="msg_other")
    with pytest.raises(WebhookError):
        verify(secret="whsec_" + "A" * 32)


@pytest.mark.parametrize("at_s", [SENT_S - 301, SENT_S + 301])
def test_what_is_old_or_of_the_future_is_refused(at_s: float) -> None:
    with pytest.raises(WebhookError, match="too old"):
        verify(at_s=at_s)


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_header_that_is_missing_is_named(name: str) -> None:
    left = {one: value for one, value in HEADERS.items() if one != name}
    with pytest.raises(WebhookError, match=name.lower()):
        ember.webhook.verify(left, BODY, SECRET, now_s=SENT_S)


@pytest.mark.parametrize("timestamp", ["soon", "1.5", "-1", "²"])
def test_a_time_that_is_none_is_refused(timestamp: str) -> None:
    with pytest.raises(WebhookError, match="seconds"):
        verify(Webhook_Timestamp=timestamp)


def test_a_secret_that_is_none_is_said_to_be() -> None:
    with pytest.raises(WebhookError, match="whsec_"):
        verify(secret="whsec_not base64")
