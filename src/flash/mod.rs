//! Flash communication on RTMFP (RFC 7425 §5).
