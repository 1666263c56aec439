// Command forward-dll writes a Windows DLL for a Wine that has none of that
// name: bcryptprimitives.dll, of which Go's runtime uses the function
// ProcessPrng. There is no code in it. The function is forwarded to
// SystemFunction036 of advapi32.dll, better known as RtlGenRandom, which takes
// the same arguments.
package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"os"
)

const (
	dllName     = "bcryptprimitives.dll\x00"
	exported    = "ProcessPrng\x00"
	forwardedTo = "advapi32.SystemFunction036\x00"
)

const (
	peOffset       = 0x40  // behind the header for DOS, of which only two fields count
	fileAlignment  = 0x200 // the headers take one unit in the file, the only section another
	sectionAddress = 0x1000
	sectionEnd     = 0x2000
)

// exportDirectory is IMAGE_EXPORT_DIRECTORY with the three arrays that it
// points to, each of one element. Addresses are relative to the image.
type exportDirectory struct {
	Characteristics, TimeDateStamp uint32
	MajorVersion, MinorVersion     uint16
	Name, Base                     uint32
	NumberOfFunctions              uint32
	NumberOfNames                  uint32
	AddressOfFunctions             uint32
	AddressOfNames                 uint32
	AddressOfNameOrdinals          uint32

	Function uint32 // inside of the export section, and so not code but the name to forward to
	NameOf   uint32
	Ordinal  uint16
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: forward-dll FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], image(), 0o666); err != nil {
		fmt.Fprintln(os.Stderr, "forward-dll:", err)
		os.Exit(1)
	}
}

// image returns the content of the DLL.
func image() []byte {
	section := exportSection()
	optional := pe.OptionalHeader64{
		Magic:                       0x20b, // PE32+
		SizeOfInitializedData:       fileAlignment,
		ImageBase:                   0x6b4c0000,
		SectionAlignment:            sectionAddress,
		FileAlignment:               fileAlignment,
		MajorOperatingSystemVersion: 6,
		MajorSubsystemVersion:       6,
		SizeOfImage:                 sectionEnd,
		SizeOfHeaders:               fileAlignment,
		Subsystem:                   pe.IMAGE_SUBSYSTEM_WINDOWS_CUI,
		DllCharacteristics:          pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
		SizeOfStackReserve:          0x100000,
		SizeOfStackCommit:           0x1000,
		SizeOfHeapReserve:           0x100000,
		SizeOfHeapCommit:            0x1000,
		NumberOfRvaAndSizes:         16,
	}
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{
		VirtualAddress: sectionAddress,
		Size:           uint32(len(section)),
	}

	var b bytes.Buffer
	write := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err) // v is not of fixed size
		}
	}
	pad := func(to int) { b.Write(make([]byte, to-b.Len())) }

	b.WriteString("MZ")
	pad(peOffset - 4)
	write(uint32(peOffset))
	b.WriteString("PE\x00\x00")
	write(pe.FileHeader{
		Machine:              pe.IMAGE_FILE_MACHINE_AMD64,
		NumberOfSections:     1,
		SizeOfOptionalHeader: uint16(binary.Size(optional)),
		Characteristics:      pe.IMAGE_FILE_DLL | pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE,
	})
	write(optional)
	write(pe.SectionHeader32{
		Name:             [8]uint8([]byte(".edata\x00\x00")),
		VirtualSize:      uint32(len(section)),
		VirtualAddress:   sectionAddress,
		SizeOfRawData:    fileAlignment,
		PointerToRawData: fileAlignment,
		Characteristics:  pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	})
	pad(fileAlignment)
	b.Write(section)
	pad(2 * fileAlignment)
	return b.Bytes()
}

// exportSection returns the only section: the directory, and the strings that
// it points to.
func exportSection() []byte {
	const (
		arrays  = sectionAddress + 40 // behind IMAGE_EXPORT_DIRECTORY
		strings = arrays + 4 + 4 + 2
	)
	var b bytes.Buffer
	err := binary.Write(&b, binary.LittleEndian, exportDirectory{
		Name:                  strings,
		Base:                  1,
		NumberOfFunctions:     1,
		NumberOfNames:         1,
		AddressOfFunctions:    arrays,
		AddressOfNames:        arrays + 4,
		AddressOfNameOrdinals: arrays + 8,

		NameOf:   strings + uint32(len(dllName)),
		Function: strings + uint32(len(dllName+exported)),
	})
	if err != nil {
		panic(err) // exportDirectory is not of fixed size
	}
	b.WriteString(dllName + exported + forwardedTo)
	return b.Bytes()
}
