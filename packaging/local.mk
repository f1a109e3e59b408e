# packaging/ - what a system needs to run Weir as services.
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = %D%/weir.pc
CLEANFILES += %D%/weir.pc
EXTRA_DIST += %D%/weir.pc.in
%D%/weir.pc: %D%/weir.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's,[@]prefix[@],$(prefix),' \
	    -e 's,[@]includedir[@],$(includedir),' -e 's,[@]moduledir[@],$(moduledir),' \
	    -e 's,[@]VERSION[@],$(VERSION),' $(srcdir)/%D%/weir.pc.in >$@.tmp && mv $@.tmp $@
