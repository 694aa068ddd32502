// The first bytes of MessagePack objects, for the reader and the writer.
#ifndef SNAKEPIT_WIRE_MSGPACK_TYPES_H_
#define SNAKEPIT_WIRE_MSGPACK_TYPES_H_

namespace snakepit::msgpack {

// The types whose first byte holds nothing else.
enum Type : unsigned char {
  kNil = 0xc0,
  kFalse = 0xc2,
  kTrue = 0xc3,
  kBin8 = 0xc4,
  kBin16 = 0xc5,
  kBin32 = 0xc6,
  kExt8 = 0xc7,
  kExt32 = 0xc9,
  kFloat32 = 0xca,
  kFloat64 = 0xcb,
  kUint8 = 0xcc,
  kUint16 = 0xcd,
  kUint32 = 0xce,
  kUint64 = 0xcf,
  kInt8 = 0xd0,
  kInt16 = 0xd1,
  kInt32 = 0xd2,
  kInt64 = 0xd3,
  kFixExt1 = 0xd4,
  kFixExt16 = 0xd8,
  kStr8 = 0xd9,
  kStr16 = 0xda,
  kStr32 = 0xdb,
  kArray16 = 0xdc,
  kArray32 = 0xdd,
  kMap16 = 0xde,
  kMap32 = 0xdf,
};

}  // namespace snakepit::msgpack

#endif  // SNAKEPIT_WIRE_MSGPACK_TYPES_H_
