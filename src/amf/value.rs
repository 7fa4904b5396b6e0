//! The values of ActionScript as AMF knows them.

use std::sync::{Arc, Weak};

use bytes::Bytes;

/// A named value.
pub type Member = (Arc<str>, Value);

/// An ActionScript value, from AMF0 or AMF3.
///
/// Cloning is cheap. A clone of a container is the same container to the [`Writer`](super::Writer):
/// the second one is written as a reference, and a Flash player gets one object in two places.
///
/// `Display` and `Debug` print an ActionScript-like literal of bounded length; a precision sets the
/// bound (`format!("{value:.80}")`). Equality compares content, and cycles by where they lead to
/// in what is compared; one that leads out of it equals only itself. As in ActionScript, NaN equals
/// nothing.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Value {
    /// No value. As a post or replication object it is sent as null.
    #[default]
    Undefined,
    /// The null object.
    Null,
    /// True or false.
    Boolean(bool),
    /// A double.
    Number(f64),
    /// An int. AMF3 has 29 bits for it: outside −2²⁸ … 2²⁸−1, and in AMF0, it is sent as a double.
    Integer(i32),
    /// Text.
    String(Arc<str>),
    /// An anonymous object or an instance of a class.
    Object(Arc<Object>),
    /// An array by names, AMF0 only; in AMF3 it is written as an array.
    EcmaArray(Arc<EcmaArray>),
    /// An array; AMF0 strict arrays have dense elements only.
    Array(Arc<Array>),
    /// A point in time.
    Date(Date),
    /// E4X XML. AMF3 only.
    Xml(Arc<str>),
    /// Legacy XML (`flash.xml.XMLDocument`).
    XmlDocument(Arc<str>),
    /// Bytes. AMF3 only.
    ByteArray(Bytes),
    /// `Vector.<int>`. AMF3 only.
    VectorInt(Arc<Vector<i32>>),
    /// `Vector.<uint>`. AMF3 only.
    VectorUint(Arc<Vector<u32>>),
    /// `Vector.<Number>`. AMF3 only.
    VectorDouble(Arc<Vector<f64>>),
    /// `Vector.<Object>` or a vector of a class. AMF3 only.
    VectorObject(Arc<ObjectVector>),
    /// A dictionary: keys are values. AMF3 only.
    Dictionary(Arc<Dictionary>),
    /// A container that this value is inside of.
    Cycle(Cycle),
    /// AMF0's place holder for what its sender could not serialise; undefined in AMF3.
    Unsupported,
}

/// A weak handle to an enclosing container, so that cyclic values do not keep themselves alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cycle {
    /// To an object.
    Object(Weak<Object>),
    /// To an ECMA array.
    EcmaArray(Weak<EcmaArray>),
    /// To an array.
    Array(Weak<Array>),
    /// To a vector of objects.
    VectorObject(Weak<ObjectVector>),
    /// To a dictionary.
    Dictionary(Weak<Dictionary>),
}

/// An anonymous object or an instance of a class.
///
/// Members keep their order. In AMF3 the sealed ones (declared by the class) come first.
#[derive(Clone)]
pub struct Object {
    class_name: Arc<str>,
    sealed: usize,
    dynamic: bool,
    members: Vec<Member>,
}

/// An array by names, AMF0 only.
#[derive(Clone, Default)]
pub struct EcmaArray {
    /// The declared length, which need not be the number of members.
    pub length: u32,
    /// The elements; indices are names too.
    pub members: Vec<Member>,
}

/// An array.
#[derive(Clone, Default)]
pub struct Array {
    /// The elements 0, 1, 2, …
    pub dense: Vec<Value>,
    /// The elements with other keys.
    pub named: Vec<Member>,
}

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Date {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub milliseconds: f64,
    /// Minutes, AMF0 only. Reserved: players send 0 or their offset, and none reads it.
    pub time_zone: i16,
}

/// A vector of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector<T> {
    /// True if its length is fixed.
    pub fixed: bool,
    /// The elements.
    pub items: Vec<T>,
}

/// A vector of objects.
#[derive(Clone)]
pub struct ObjectVector {
    /// The class of the elements, empty for `Object`.
    pub class_name: Arc<str>,
    /// True if its length is fixed.
    pub fixed: bool,
    /// The elements.
    pub items: Vec<Value>,
}

/// A dictionary.
#[derive(Clone, Default)]
pub struct Dictionary {
    /// True if the keys are held weakly.
    pub weak_keys: bool,
    /// Keys and values.
    pub entries: Vec<(Value, Value)>,
}

impl Value {
    /// An anonymous object with these members.
    ///
    /// ```
    /// use rtmfp::amf::Value;
    ///
    /// let info = Value::object([("code", Value::from("NetConnection.Connect.Success"))]);
    /// assert_eq!(info.to_string(), r#"{code: "NetConnection.Connect.Success"}"#);
    /// ```
    pub fn object<N: Into<Arc<str>>, V: Into<Self>>(
        members: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let members = members.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self::from(Object { members: members.collect(), ..Object::new() })
    }

    /// An array with these dense elements.
    pub fn array<V: Into<Self>>(elements: impl IntoIterator<Item = V>) -> Self {
        let dense = elements.into_iter().map(Into::into).collect();
        Self::from(Array { dense, named: Vec::new() })
    }

    /// True if this is undefined or null.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Undefined | Self::Null)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A number or an integer.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Number(number) => Some(number),
            Self::Integer(number) => Some(f64::from(number)),
            _ => None,
        }
    }

    /// A number or an integer, if it is a whole one in range.
    pub fn as_u32(&self) -> Option<u32> {
        let number = self.as_f64()?;
        let whole = number as u32; // saturates; NaN becomes 0
        (f64::from(whole) == number).then_some(whole)
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The content of a byte array.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::ByteArray(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The dense elements of an array, or the elements of a vector of objects.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Self::Array(array) => Some(&array.dense),
            Self::VectorObject(vector) => Some(&vector.items),
            _ => None,
        }
    }

    /// The named members of an object or array, in order; none for other values.
    pub fn members(&self) -> &[Member] {
        match self {
            Self::Object(object) => &object.members,
            Self::EcmaArray(array) => &array.members,
            Self::Array(array) => &array.named,
            _ => &[],
        }
    }

    /// The member of an object or array with this name. Of several, the last one counts.
    pub fn property(&self, name: &str) -> Option<&Value> {
        find(self.members(), name)
    }

    /// Identity of this container, by which it differs from others with the same content while it
    /// lives.
    pub(super) fn identity(&self) -> Option<usize> {
        match self {
            Self::Object(shared) => Some(address(Arc::as_ptr(shared))),
            Self::EcmaArray(shared) => Some(address(Arc::as_ptr(shared))),
            Self::Array(shared) => Some(address(Arc::as_ptr(shared))),
            Self::VectorInt(shared) => Some(address(Arc::as_ptr(shared))),
            Self::VectorUint(shared) => Some(address(Arc::as_ptr(shared))),
            Self::VectorDouble(shared) => Some(address(Arc::as_ptr(shared))),
            Self::VectorObject(shared) => Some(address(Arc::as_ptr(shared))),
            Self::Dictionary(shared) => Some(address(Arc::as_ptr(shared))),
            Self::Cycle(cycle) => Some(cycle.identity()),
            _ => None,
        }
    }
}

impl Cycle {
    /// The enclosing container, unless its outermost value has been dropped.
    pub fn upgrade(&self) -> Option<Value> {
        match self {
            Self::Object(weak) => weak.upgrade().map(Value::Object),
            Self::EcmaArray(weak) => weak.upgrade().map(Value::EcmaArray),
            Self::Array(weak) => weak.upgrade().map(Value::Array),
            Self::VectorObject(weak) => weak.upgrade().map(Value::VectorObject),
            Self::Dictionary(weak) => weak.upgrade().map(Value::Dictionary),
        }
    }

    pub(super) fn identity(&self) -> usize {
        match self {
            Self::Object(weak) => address(weak.as_ptr()),
            Self::EcmaArray(weak) => address(weak.as_ptr()),
            Self::Array(weak) => address(weak.as_ptr()),
            Self::VectorObject(weak) => address(weak.as_ptr()),
            Self::Dictionary(weak) => address(weak.as_ptr()),
        }
    }
}

/// Equal for a container and every handle to it.
pub(super) fn address<T>(pointer: *const T) -> usize {
    pointer.addr()
}

fn find<'a>(members: &'a [Member], name: &str) -> Option<&'a Value> {
    members.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value)
}

impl Object {
    /// An anonymous object without members.
    pub fn new() -> Self {
        Self { class_name: "".into(), sealed: 0, dynamic: true, members: Vec::new() }
    }

    /// An instance of a class, by its registered alias, without members.
    ///
    /// The class is not dynamic until a dynamic member is added.
    pub fn typed(class_name: impl Into<Arc<str>>) -> Self {
        Self { class_name: class_name.into(), dynamic: false, ..Self::new() }
    }

    /// Adds a dynamic member.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        self.dynamic = true;
        self.members.push((name.into(), value.into()));
        self
    }

    /// Adds a sealed member: one that the class declares. AMF0 does not make the difference.
    #[must_use]
    pub fn with_sealed(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        self.members.insert(self.sealed, (name.into(), value.into()));
        self.sealed += 1;
        self
    }

    /// An object from its parts; the first `sealed` members are the sealed ones.
    pub(super) fn from_parts(
        class_name: Arc<str>,
        sealed: usize,
        dynamic: bool,
        members: Vec<Member>,
    ) -> Self {
        let sealed = sealed.min(members.len());
        Self { class_name, sealed, dynamic: dynamic || sealed < members.len(), members }
    }

    /// The registered alias of the class, empty if the object is anonymous.
    pub fn class_name(&self) -> &Arc<str> {
        &self.class_name
    }

    /// True if instances may have members that the class does not declare.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// All members, sealed ones first.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members that the class declares.
    pub fn sealed(&self) -> &[Member] {
        self.members.get(..self.sealed).unwrap_or_default()
    }

    /// The other members.
    pub fn dynamic(&self) -> &[Member] {
        self.members.get(self.sealed..).unwrap_or_default()
    }

    /// The member with this name. Of several, the last one counts.
    pub fn property(&self, name: &str) -> Option<&Value> {
        find(&self.members, name)
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for ObjectVector {
    fn default() -> Self {
        Self { class_name: "".into(), fixed: false, items: Vec::new() }
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    /// An integer if it fits, else a number.
    fn from(number: u32) -> Self {
        i32::try_from(number).map_or(Self::Number(f64::from(number)), Self::Integer)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::String(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::ByteArray(bytes)
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }
}

impl From<EcmaArray> for Value {
    fn from(array: EcmaArray) -> Self {
        Self::EcmaArray(Arc::new(array))
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(Arc::new(array))
    }
}

impl From<ObjectVector> for Value {
    fn from(vector: ObjectVector) -> Self {
        Self::VectorObject(Arc::new(vector))
    }
}

impl From<Dictionary> for Value {
    fn from(dictionary: Dictionary) -> Self {
        Self::Dictionary(Arc::new(dictionary))
    }
}
