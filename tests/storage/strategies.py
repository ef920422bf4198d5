"""Any grant, pending login and registration, for property tests."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from mcpproxy.core.ledger import LedgerLine
from mcpproxy.core.model import ClientRegistration, Grant, Secret
from mcpproxy.core.pending_login import PendingLogin

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_TIMES = st.datetimes(timezones=st.just(UTC))
_SECRETS = st.builds(Secret, _TEXT)

st.register_type_strategy(datetime, _TIMES)
st.register_type_strategy(str, _TEXT)
st.register_type_strategy(int, st.integers(0, 2**62))
st.register_type_strategy(Secret, _SECRETS)
ANY_GRANT = st.from_type(Grant)
ANY_LOGIN = st.from_type(PendingLogin)
ANY_REGISTRATION = st.from_type(ClientRegistration)
ANY_LINE = st.from_type(LedgerLine)
