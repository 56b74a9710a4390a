package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// A segment begins with its header, twice, so that one flipped bit does not cost the segment:
//
//	8 bytes   magic
//	8         number of the first record
//	8         salt, random
//	4         CRC32C of the above
//	4         zero
//
// A record follows the other:
//
//	4 bytes   magic
//	4         length of the payload
//	8         number
//	4         CRC32C of the salt, the length, the number and the payload
//	…         payload
//
// All numbers are little-endian. The salt keeps bytes that a client chose from being read as a record
// where the reader looks for the next one after a damage.
const (
	segmentMagic = "CLWAL\x00\x01\n"
	recordMagic  = "\xc1\x57\xae\xd6"

	headerCopyBytes = 32
	headerBytes     = 2 * headerCopyBytes
	headBytes       = 20

	recordBytesLimit = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what begins a segment.
type header struct {
	first uint64
	salt  uint64
}

func (h header) appendTo(dst []byte) []byte {
	for range 2 {
		from := len(dst)
		dst = append(dst, segmentMagic...)
		dst = binary.LittleEndian.AppendUint64(dst, h.first)
		dst = binary.LittleEndian.AppendUint64(dst, h.salt)
		dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
		dst = append(dst, 0, 0, 0, 0)
	}
	return dst
}

// parseHeader reads the first sound copy; whole says whether both are.
func parseHeader(b []byte) (h header, ok, whole bool) {
	whole = len(b) >= headerBytes
	for at := 0; at+headerCopyBytes <= len(b) && at < headerBytes; at += headerCopyBytes {
		c := b[at : at+headerCopyBytes]
		sound := string(c[:8]) == segmentMagic &&
			crc32.Checksum(c[:24], castagnoli) == binary.LittleEndian.Uint32(c[24:])
		if sound && !ok {
			h = header{first: binary.LittleEndian.Uint64(c[8:]), salt: binary.LittleEndian.Uint64(c[16:])}
			ok = true
		}
		whole = whole && sound
	}
	return h, ok, whole
}

// saltSum is the checksum of the salt, with which that of each record begins.
func saltSum(salt uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], salt)
	return crc32.Checksum(b[:], castagnoli)
}

func recordSum(salt uint32, head, payload []byte) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, head[4:16]), castagnoli, payload)
}

// appendUnsealed appends a record that has no number and no checksum yet.
func appendUnsealed(dst, payload []byte) []byte {
	dst = append(dst, recordMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, make([]byte, 12)...)
	return append(dst, payload...)
}

// seal numbers the records in b from first and adds their checksums.
func seal(b []byte, first uint64, salt uint32) {
	for number := first; len(b) > 0; number++ {
		end := headBytes + int(binary.LittleEndian.Uint32(b[4:]))
		binary.LittleEndian.PutUint64(b[8:], number)
		binary.LittleEndian.PutUint32(b[16:], recordSum(salt, b, b[headBytes:end]))
		b = b[end:]
	}
}

// headOf reads a record's head; ok is false if it cannot be one.
func headOf(b []byte, recordBytesMax int) (length int, number uint64, ok bool) {
	if !bytes.HasPrefix(b, []byte(recordMagic)) {
		return 0, 0, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if int64(n) > int64(recordBytesMax) {
		return 0, 0, false
	}
	return int(n), binary.LittleEndian.Uint64(b[8:]), true
}
