# cmake --install BUILD --prefix P: the program, the headers, and one target for other projects, assay::assay (docs/guide.md §9).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS assay RUNTIME)
foreach(layer base net contract trace lm program optimize sandbox nostr market hud)
  install(TARGETS assay_${layer} ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}/assay")
  install(DIRECTORY assay/${layer} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/assay" FILES_MATCHING PATTERN "*.h" PATTERN "*_test.h" EXCLUDE
          PATTERN local_chat.h EXCLUDE PATTERN local_engine.h EXCLUDE PATTERN local_slot.h EXCLUDE PATTERN local_speaker.h EXCLUDE)  # need libllama's own
endforeach()
set(ASSAY_INSTALL_CMAKE "${CMAKE_INSTALL_LIBDIR}/cmake/assay")
configure_package_config_file(cmake/assay-config.cmake.in assay-config.cmake INSTALL_DESTINATION "${ASSAY_INSTALL_CMAKE}"
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(assay-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/assay-config.cmake" "${PROJECT_BINARY_DIR}/assay-config-version.cmake"
        DESTINATION "${ASSAY_INSTALL_CMAKE}")
