//! AMF0 and AMF3 values: reader and writer with limits.
