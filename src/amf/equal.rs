//! Equality of values: by content, through cycles.

use super::value::{Array, Dictionary, EcmaArray, Member, Object, ObjectVector, Value, address};

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        Comparison { open: Vec::new() }.values(self, other)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Comparison::inside(self, other).objects(self, other)
    }
}

impl PartialEq for EcmaArray {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length
            && Comparison::inside(self, other).members(&self.members, &other.members)
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        Comparison::inside(self, other).arrays(self, other)
    }
}

impl PartialEq for ObjectVector {
    fn eq(&self, other: &Self) -> bool {
        Comparison::inside(self, other).vectors(self, other)
    }
}

impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        Comparison::inside(self, other).dictionaries(self, other)
    }
}

/// A comparison under way: the pairs of containers it is inside of.
///
/// Two cycles are equal if they lead to such a pair: then the graphs have the same shape.
struct Comparison {
    open: Vec<(usize, usize)>,
}

impl Comparison {
    /// Of the content of two containers.
    fn inside<T>(left: &T, right: &T) -> Self {
        Self { open: vec![(address(left), address(right))] }
    }

    fn values(&mut self, left: &Value, right: &Value) -> bool {
        use Value::*;
        match (left, right) {
            (Undefined, Undefined) | (Null, Null) | (Unsupported, Unsupported) => true,
            (Boolean(a), Boolean(b)) => a == b,
            (Number(a), Number(b)) => a == b,
            (Integer(a), Integer(b)) => a == b,
            (String(a), String(b)) | (Xml(a), Xml(b)) | (XmlDocument(a), XmlDocument(b)) => a == b,
            (Date(a), Date(b)) => a == b,
            (ByteArray(a), ByteArray(b)) => a == b,
            (VectorInt(a), VectorInt(b)) => a == b,
            (VectorUint(a), VectorUint(b)) => a == b,
            (VectorDouble(a), VectorDouble(b)) => a == b,
            (Cycle(a), Cycle(b)) => {
                let pair = (a.identity(), b.identity());
                pair.0 == pair.1 || self.open.contains(&pair)
            }
            _ => self.containers(left, right),
        }
    }

    fn containers(&mut self, left: &Value, right: &Value) -> bool {
        let (Some(a), Some(b)) = (left.identity(), right.identity()) else { return false };
        self.open.push((a, b));
        let equal = match (left, right) {
            (Value::Object(a), Value::Object(b)) => self.objects(a, b),
            (Value::EcmaArray(a), Value::EcmaArray(b)) => {
                a.length == b.length && self.members(&a.members, &b.members)
            }
            (Value::Array(a), Value::Array(b)) => self.arrays(a, b),
            (Value::VectorObject(a), Value::VectorObject(b)) => self.vectors(a, b),
            (Value::Dictionary(a), Value::Dictionary(b)) => self.dictionaries(a, b),
            _ => false,
        };
        self.open.pop();
        equal
    }

    fn objects(&mut self, left: &Object, right: &Object) -> bool {
        left.class_name() == right.class_name()
            && left.is_dynamic() == right.is_dynamic()
            && left.sealed().len() == right.sealed().len()
            && self.members(left.members(), right.members())
    }

    fn arrays(&mut self, left: &Array, right: &Array) -> bool {
        self.lists(&left.dense, &right.dense) && self.members(&left.named, &right.named)
    }

    fn vectors(&mut self, left: &ObjectVector, right: &ObjectVector) -> bool {
        left.class_name == right.class_name
            && left.fixed == right.fixed
            && self.lists(&left.items, &right.items)
    }

    fn dictionaries(&mut self, left: &Dictionary, right: &Dictionary) -> bool {
        left.weak_keys == right.weak_keys
            && left.entries.len() == right.entries.len()
            && left
                .entries
                .iter()
                .zip(&right.entries)
                .all(|((key_a, a), (key_b, b))| self.values(key_a, key_b) && self.values(a, b))
    }

    fn members(&mut self, left: &[Member], right: &[Member]) -> bool {
        left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|((name_a, a), (name_b, b))| name_a == name_b && self.values(a, b))
    }

    fn lists(&mut self, left: &[Value], right: &[Value]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| self.values(a, b))
    }
}
