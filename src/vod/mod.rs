//! Files through groups by object replication.
